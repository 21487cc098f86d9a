"""What a fresh process imports to open a bundle: libraries that take long are left for what needs them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from m3ray.config import SimilarityConfig, TierConfigs
from m3ray.features.dataset import Scaling
from m3ray.features.matrix import Block
from m3ray.model import StackedMLP
from m3ray.schema import HOG_COMPONENTS, RAW
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.bundle_metadata import BundleMetadata
from m3ray.similarity import MEASURES
from m3ray.similarity.fitted import FittedSimilarity, label_matrix
from m3ray.storage.root import Root
from m3ray.tiers import HogProjection
from m3ray.tiers.factory import resolve_precision

# scikit-learn and SciPy took 1.2 s of the 3.7 s of imports, pandas 0.3 s; the rest would take as long.
HEAVY = (
    "sklearn",
    "scipy",
    "pandas",
    "ray",
    "matplotlib",
    "torchvision",
    "tyro",
    "torch._dynamo",
    "torch._inductor",
    "numba",
    "optuna",
    "decord",
)
HOG = 34_596


def make_files(measure):
    rng = np.random.default_rng(0)
    projection = HogProjection(np.zeros(HOG, np.float32), np.zeros((HOG_COMPONENTS, HOG), np.float32), 1)
    tensors, facts = projection.to_artifact()
    labels, names = label_matrix([["sky", "sea"][k % 2 : k % 2 + 1] for k in range(30)])
    config = SimilarityConfig(measure=measure, sources=("scene",), components=3, kde_fewest=2)
    fitted = FittedSimilarity.fit(config, {"scene": rng.standard_normal((30, 12))}, labels, names)
    similarity, text = fitted.to_bytes()
    files = {"hog_pca.safetensors": tensors, "hog_pca.json": json.dumps(facts).encode()}
    return files | {"similarity.safetensors": similarity, "similarity.json": text}, fitted.columns


def save_bundle(folder, measure):
    """A bundle of the raw and the similarity tier; it has the scene tier's untrained network too."""
    files, columns = make_files(measure)
    raw = [name for name in RAW.names if name not in ("clip_id", "hog")] + [f"hog_{k}" for k in range(HOG_COMPONENTS)]
    blocks = (Block("raw", tuple(raw), True), Block("similarity", columns, False))
    width = len(raw) + len(columns)
    zeros = np.zeros(width, np.float32)
    configs = resolve_precision(TierConfigs(), bfloat16=False)
    metadata = BundleMetadata(True, configs=configs, sources={"scene": {"location": None, "sha256": None, "seed": 0}})
    model = StackedMLP(width, (4,), [0]).eval()
    bundle = Bundle("b", model, blocks, Scaling(zeros, zeros + 1), zeros, np.zeros(20, np.float32), metadata, files)
    bundle.save(Root(str(folder)), "b")
    return str(folder / "b")


def import_in_fresh_process(code, *arguments):
    """Which heavy modules a script has imported at its end, by Python's own account."""
    listing = f"import sys\n{code}\nprint(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", listing, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    return done.stdout.split()


@pytest.mark.filterwarnings("ignore:DBSCAN found")
def test_a_bundle_opens_without_what_fits_measures_and_draws_tables(tmp_path):
    uri = save_bundle(tmp_path, "dbscan")
    assert import_in_fresh_process("import m3ray; m3ray.load(sys.argv[1]).close()", uri) == []


@pytest.mark.filterwarnings("ignore:DBSCAN found")
def test_every_measure_is_restored_and_applied_without_scikit_learn(tmp_path):
    widths = {}
    for measure in MEASURES:
        files, columns = make_files(measure)
        widths[measure] = len(columns)
        for ending in ("safetensors", "json"):
            (tmp_path / f"{measure}.{ending}").write_bytes(files[f"similarity.{ending}"])
    code = """
import json
import numpy as np
from pathlib import Path
from m3ray.similarity.fitted import FittedSimilarity
for name, width in json.loads(sys.argv[2]).items():
    tensors, text = (Path(sys.argv[1], f"{name}.{ending}").read_bytes() for ending in ("safetensors", "json"))
    assert FittedSimilarity.from_bytes(tensors, text).transform({"scene": np.ones((2, 12))}).shape == (2, width)
"""
    assert import_in_fresh_process(code, str(tmp_path), json.dumps(widths)) == []
