"""The bundle of a finetuned model: the frozen one's, with its own networks, head, mean clip and residuals."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import save
from scipy.stats import spearmanr
from trained_studies import train_study

from m3ray.config import SimilarityConfig, TierConfigs
from m3ray.config.finetuning import FinetuneConfig
from m3ray.errors import BundleError
from m3ray.features.dataset import Scaling
from m3ray.features.matrix import Block
from m3ray.model import StackedMLP
from m3ray.scoring.build import make_bundle
from m3ray.scoring.finetuned_bundle import build_finetuned_bundle
from m3ray.similarity.fitted import FittedSimilarity
from m3ray.study.variants import make_finetune_variant
from m3ray.training.finetuning.spec import REFIT, REFIT_ROWS, REFIT_TEXT

VAL = np.linspace(0.2, 0.8, 10)


@pytest.fixture
def finetuned(tmp_path):
    """A study with a frozen model, and what finetuning its scene network leaves."""
    study, variant, _ = train_study(tmp_path)
    for name in ("hog_pca.safetensors", "hog_pca.json"):
        study.root.write_bytes(b"x", "artifacts", name)
    frozen = make_bundle(study, variant, TierConfigs(), {}, "frozen", "train")
    tuned = make_finetune_variant(variant, FinetuneConfig(precision="float32", size=64))
    part = study.trial_folder(tuned)
    head = StackedMLP(55, (8,), [5, 6])
    tensors = {name: value.numpy() for name, value in head.state_dict().items()}
    study.root.write_bytes(save({**tensors, "columns": np.arange(55)}), *part, "model.safetensors")
    study.root.write_bytes(save({"val": np.stack([VAL, VAL + 1])}), *part, "val.safetensors")
    study.root.write_bytes(save({"scene": np.full(40, 0.5, np.float32)}), *part, "means.safetensors")
    study.root.write_bytes(b"network", *part, "tuned-scene.safetensors")
    return study, tuned, frozen, head


def test_the_network_takes_the_scene_tier_s_place(finetuned):
    study, tuned, frozen, _ = finetuned
    bundle = build_finetuned_bundle(study, tuned, frozen, "new")
    raw, scene = bundle.blocks
    assert raw == frozen.blocks[0]
    assert (scene.tier, scene.names[:2]) == ("tuned:scene", ("tuned_scene_0", "tuned_scene_1"))
    assert study.root.read_bytes("models", "new", "tuned-scene.safetensors") == b"network"
    assert bundle.networks == {"tuned-scene.safetensors": hashlib.sha256(b"network").hexdigest()}
    np.testing.assert_array_equal(bundle.baseline, [*frozen.baseline[:15], *np.full(40, 0.5)])


def test_the_model_is_the_first_run_s_head_with_its_own_residuals(finetuned):
    study, tuned, frozen, head = finetuned
    bundle = build_finetuned_bundle(study, tuned, frozen, "new")
    inputs = torch.randn(3, 55)
    with torch.no_grad():
        torch.testing.assert_close(bundle.model(inputs)[0], head.extract_run(0)(inputs))
    assert bundle.model.weights[0].shape[0] == 1
    errors = np.abs(VAL - study.data.scores[study.data.val])
    np.testing.assert_allclose(bundle.residuals, np.sort(errors), atol=1e-6)


def test_what_it_says_of_runs_and_intervals_is_its_own(finetuned):
    """The frozen model's bundle says other things of itself: here a dropped run, and decay from its own features."""
    study, tuned, frozen, _ = finetuned
    decay = {"intercept": 0.1, "slope": 0.2, "predicted_from": "features", "r_line": 0.3, "r_features": 0.5}
    said = replace(frozen.metadata, dropped_runs=[0], seeds=[1], calibrated_on="train, 5 folds", decay=decay)
    said = replace(said, data={"dataset": "demo", "on_test": {"spearman": 0.5}})
    frozen = replace(frozen, metadata=said, decay_weights=np.ones(56, np.float32))
    bundle = build_finetuned_bundle(study, tuned, frozen, "new")
    metadata = bundle.metadata
    assert (metadata.seeds, metadata.dropped_runs, metadata.calibrated_on) == ([0], [], "val")
    truth = study.data.scores[study.data.val]
    assert metadata.trained_on["val_spearman"] == pytest.approx(spearmanr(VAL, truth).statistic)
    assert metadata.data == {"dataset": "demo"}, "test was scored by the frozen model"
    assert bundle.decay_weights is None
    assert metadata.decay["predicted_from"] == "score"
    np.testing.assert_allclose(bundle.calibration, [VAL, truth], rtol=1e-6)


def test_a_run_that_diverged_makes_no_bundle(finetuned):
    study, tuned, frozen, _ = finetuned
    study.root.write_bytes(save({"val": np.full((2, 10), np.nan)}), *study.trial_folder(tuned), "val.safetensors")
    with pytest.raises(BundleError, match="new: its run diverged"):
        build_finetuned_bundle(study, tuned, frozen, "new")


def test_its_metadata_names_the_network_as_a_tier(finetuned):
    study, tuned, frozen, _ = finetuned
    metadata = build_finetuned_bundle(study, tuned, frozen, "new").metadata
    entry = metadata.tiers["tuned:scene"]
    assert (entry.folder, entry.untrained) == ("", True), "as the scene tier that it started from"
    assert entry.identity["weights"] == {"sha256": hashlib.sha256(b"network").hexdigest()}
    assert metadata.seeds == [0]
    assert (metadata.configs.finetuned.size, metadata.configs.finetuned.precision) == (64, "float32")
    assert replace(metadata.configs, finetuned=frozen.metadata.configs.finetuned) == frozen.metadata.configs
    assert metadata.environments == frozen.metadata.environments


def test_similarity_that_was_fitted_anew_takes_its_files_scaling_and_baseline(finetuned):
    study, tuned, frozen, _ = finetuned
    rng = np.random.default_rng(0)
    config = SimilarityConfig(measure="cosine_mean", sources=("tuned:scene",), components=3)
    fitted = FittedSimilarity.fit(config, {"tuned:scene": rng.standard_normal((30, 12))}, None, [])
    (name,) = fitted.columns
    tensors, text = fitted.to_bytes()
    part = study.trial_folder(tuned)
    study.root.write_bytes(tensors, *part, REFIT)
    study.root.write_bytes(text, *part, REFIT_TEXT)
    scales = {"rows": np.zeros((40, 1)), "mean": np.array([3.0]), "deviation": np.array([2.0])}
    study.root.write_bytes(save(scales), *part, REFIT_ROWS)
    ones = np.ones(56, np.float32)
    with_similarity = replace(
        frozen,
        blocks=(*frozen.blocks, Block("similarity", ("old",), True)),
        scaling=Scaling(ones, ones),
        baseline=ones,
    )
    bundle = build_finetuned_bundle(study, tuned, with_similarity, "new")
    assert bundle.blocks[-1] == Block("similarity", (name,), True)
    assert (bundle.scaling.mean[-1], bundle.scaling.deviation[-1], bundle.baseline[-1]) == (3.0, 2.0, 0.0)
    assert bundle.scaling.mean[:-1].tolist() == [1.0] * 55
    assert bundle.files["similarity.json"] == text
