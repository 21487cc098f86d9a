"""A root of a user's own tiers as a user tunes it: the printed commands run as they are, and their numbers agree."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from m3ray.config.options import EvaluateOptions, ExtractOptions

pytestmark = [pytest.mark.integration, pytest.mark.slow]
TOP = Path(__file__).parents[2]
CLIPS = 240


def write_tables(folder):
    """Clips in three splits, and two tiers of which both matter."""
    rng = np.random.default_rng(0)
    words, sound = rng.standard_normal((CLIPS, 12)), rng.standard_normal((CLIPS, 6))
    scores = 1 / (1 + np.exp(-(words[:, 0] + 0.7 * sound[:, 1] + 0.5 * rng.standard_normal(CLIPS))))
    ids = [f"c{k:03d}" for k in range(CLIPS)]
    splits = [("train", "train", "val", "test")[k % 4] for k in range(CLIPS)]
    folder.mkdir(parents=True)
    table = pd.DataFrame({"clip_id": ids, "uri": [f"{name}.mp4" for name in ids], "split": splits, "score": scores})
    table.to_csv(folder / "clips.csv", index=False)
    for name, values in (("words", words), ("sound", sound)):
        columns = {f"{name}{k}": values[:, k] for k in range(values.shape[1])}
        pd.DataFrame({"clip_id": ids, **columns}).to_parquet(folder / f"{name}.parquet")


def run(command):
    """A command of a user's, with `python` as the interpreter of the tests; its output."""
    arguments = shlex.split(command)
    assert arguments[0] == "python"
    env = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": "local"}
    done = subprocess.run(
        [sys.executable, *arguments[1:]], cwd=TOP, env=env, capture_output=True, text=True, timeout=840, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def find_command(output, job):
    """The command that a search printed for a job."""
    (line,) = [line for line in output.splitlines() if f": python jobs/{job}.py " in line]
    return line[line.index("python jobs/") :]


@pytest.fixture(scope="module")
def tuned(jobs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "my root"
    write_tables(folder.parent / "tables")
    tables, out = folder.parent / "tables", str(folder)
    tiers = tuple(f"{name}={tables}/{name}.parquet" for name in ("words", "sound"))
    clips = {"dataset": "table", "root": str(tables / "clips.csv"), "tier": tiers, "tiers": ("words", "sound")}
    jobs.extract(ExtractOptions(out=out, **clips))
    said = run(f"python jobs/tune.py --out {shlex.quote(out)} --trials 4 --runs 2 --epochs 6")
    outputs = {job: run(find_command(said, job)) for job in ("train", "ablate")}
    jobs.evaluate(EvaluateOptions(out=out, bundles=(f"{out}/models/tuned",), roots=(out,)))
    return folder, outputs


def read_rows(folder, study):
    """Rows of a study, by variant."""
    return pd.read_parquet(folder / "study" / study / "trials.parquet").set_index("variant")


def test_what_was_tuned_is_what_is_trained_and_ablated(tuned):
    folder, _ = tuned
    best = json.loads((folder / "study" / "search" / "best.json").read_text())
    trained, full = read_rows(folder, "tuned").loc["tuned"], read_rows(folder, "ablation").loc["words + sound"]
    assert trained["spearman"] == pytest.approx(best["val_spearman"], abs=1e-4), "of the same seeds"
    assert trained["mse"] == pytest.approx(best["val_mse"], abs=1e-5)
    for name in ("spearman", "mse", "test_spearman", "test_mse", "test_ensemble_spearman"):
        assert full[name] == pytest.approx(trained[name], abs=1e-4)


def test_nothing_is_chosen_again(tuned):
    _, outputs = tuned
    assert not [line for output in outputs.values() for line in output.splitlines() if "choosing" in line]


def test_the_bundle_has_on_test_what_its_study_has(tuned):
    """A bundle of the MLP predicts the mean of its runs, one of an ensemble what the study's row has."""
    folder, _ = tuned
    (evaluated,) = pd.read_parquet(folder / "evaluation" / "evaluation.parquet").to_dict("records")
    model = json.loads((folder / "models" / "tuned" / "bundle.json").read_text()).get("model") or "mlp"
    rows, name = (read_rows(folder, "tuned"), "tuned")
    if model != "mlp":
        rows, name = read_rows(folder, "ablation"), f"{model}, all tiers"
    assert evaluated["split"] == "test"
    assert evaluated["spearman"] == pytest.approx(rows.loc[name, "test_ensemble_spearman"], abs=1e-3)
