"""A study on disk: what a trial leaves, and the tables made of all of them."""

import numpy as np
import pandas as pd
import pytest
from planted import CPU, planted, planted_tiers
from safetensors.numpy import load, save

from m3ray.config import TrainConfig
from m3ray.datasets.catalogue import write_catalogue
from m3ray.errors import StudyError
from m3ray.features.load import StudyFeatures
from m3ray.reports.tables.markdown import to_markdown
from m3ray.reports.tables.study import build_study_table
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.root import Root
from m3ray.study.differences import read_difference
from m3ray.study.regressor_results import OutOfFold
from m3ray.study.statistics import difference
from m3ray.study.store import (
    collect_trials,
    is_trained,
    read_out_of_fold,
    read_trial_tensors,
    write_out_of_fold,
    write_trial,
)
from m3ray.study.study import Study
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant

TRAINING = TrainConfig(hidden=(4,), epochs=2)
FULL = Variant("all", ("raw",), training=TRAINING)
LESS = Variant("without contrast", ("raw",), ("contrast",), TRAINING, "all")


def make_study(folder, data):
    root = Root(str(folder))
    clips = [
        Clip(name, name, score=float(score)) for name, score in zip(data.features.clip_ids, data.scores, strict=True)
    ]
    write_catalogue(root, catalogue_table(clips), 0)
    return Study(root, "ablation", StudyFeatures(data, {"raw": "raw-1"}, "key"), (0, 1))


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path, planted(100))


def train(study, variant):
    result = run_trial(variant, study.data, study.seeds, CPU)
    write_trial(study, variant, result)
    return result


def test_a_trial_s_models_come_back(study):
    result = train(study, LESS)
    tensors = read_trial_tensors(study, LESS)
    assert tensors["columns"].tolist() == [0, 2]
    assert {name for name in tensors if name != "columns"} == set(result.trained.model.state_dict())
    np.testing.assert_array_equal(tensors["weights.0"], result.trained.model.weights[0].detach().numpy())


def test_the_tables_hold_every_trial_and_its_difference(study, tmp_path):
    results = {variant.name: train(study, variant) for variant in (FULL, LESS)}
    trials = collect_trials(study, [FULL, LESS, FULL]).set_index("variant")
    assert list(trials.index) == ["all", "without contrast"], "each once"
    gap = trials.loc["without contrast", "spearman"] - trials.loc["all", "spearman"]
    assert trials.loc["without contrast", "delta_spearman"] == pytest.approx(gap)
    folder = tmp_path / "study" / "ablation"
    assert len(pd.read_parquet(folder / "runs.parquet")) == 2 * 2 * 2
    predictions = pd.read_parquet(folder / "predictions.parquet")
    own = predictions[predictions["variant"] == "all"]["score"]
    np.testing.assert_allclose(own, results["all"].trained.val.mean(axis=0))
    config = study.root.read_json(*study.folder, "config.json")
    assert (config["seeds"], config["key"]) == ([0, 1], "key")
    assert [variant["name"] for variant in config["variants"]] == ["all", "without contrast"]


def test_predictions_of_both_splits_are_kept_and_compared(tmp_path):
    data = planted_tiers(400, test=True)
    study = make_study(tmp_path, data)
    results = {variant.name: train(study, variant) for variant in (FULL, LESS)}
    kept = load(study.root.read_bytes(*study.trial_folder(LESS), "val.safetensors"))
    np.testing.assert_array_equal(kept["val"], results["without contrast"].trained.val)
    np.testing.assert_array_equal(kept["test"], results["without contrast"].test)
    trials = collect_trials(study, [FULL, LESS]).set_index("variant")
    for prefix, kind, rows in (("delta", "val", data.val), ("test_delta", "test", data.test)):
        full, row = (result.trained.val if kind == "val" else result.test for result in results.values())
        expected = difference(full, row, data.scores[rows])
        assert read_difference(trials.loc["without contrast"], prefix) == expected
    assert pd.read_parquet(tmp_path / "study" / "ablation" / "trials.parquet")["test_mse_delta"].notna().sum() == 1


def test_trials_older_than_test_predictions_stay_readable(tmp_path):
    study = make_study(tmp_path, planted_tiers(400, test=True))
    for variant in (FULL, LESS):
        result = train(study, variant)
        folder = study.trial_folder(variant)
        study.root.write_bytes(save({"val": result.trained.val}), *folder, "val.safetensors")
        summary = {key: value for key, value in result.summary.items() if "ensemble" not in key}
        study.root.write_json(summary, *folder, "trial.json")
    row = collect_trials(study, [FULL, LESS]).set_index("variant").loc["without contrast"]
    assert np.isfinite(row["delta_low"])
    assert np.isnan(row["test_delta_spearman"])
    assert row["test_delta_reason"] == "trained before predictions of the test split were kept"


def test_ten_videos_have_no_interval_and_no_star(tmp_path):
    """A first trial of ten videos has two val clips: `[+0.5000, +0.5000] *` was printed for noise."""
    study = make_study(tmp_path, planted(10))
    for variant in (FULL, LESS):
        train(study, variant)
    trials = collect_trials(study, [FULL, LESS])
    row = trials.set_index("variant").loc["without contrast"]
    assert row[["delta_low", "delta_high", "delta_p"]].isna().all()
    assert row["delta_reason"] == "2 clips: no interval under 20"
    text = to_markdown(build_study_table(3, trials, ["all", "without contrast"]))
    assert f"{row['delta_spearman']:+.4f} (2 clips: no interval under 20)" in text
    assert "No star: 2 clips: no interval under 20." in text
    assert " * |" not in text


def test_a_variant_without_a_complete_folder_failed(study):
    train(study, FULL)
    train(study, LESS)
    study.root.delete(*study.trial_folder(LESS), "trial.json")
    trials = collect_trials(study, [FULL, LESS]).set_index("variant")
    assert trials.loc["without contrast", "status"] == "failed"
    assert pd.isna(trials.loc["without contrast", "spearman"])
    assert trials.loc["all", "status"] == "done"


def test_a_study_of_which_nothing_was_trained_is_an_error(study):
    with pytest.raises(StudyError, match="every trial failed"):
        collect_trials(study, [FULL])


def test_predictions_of_held_out_train_clips_come_back(study):
    assert read_out_of_fold(study, FULL) is None
    folds = np.arange(80) % 5
    kept = OutOfFold(np.random.default_rng(0).random((2, 80)), folds, 12.5)
    write_out_of_fold(study, FULL, kept)
    found = read_out_of_fold(study, FULL)
    np.testing.assert_array_equal(found.predictions, kept.predictions)
    np.testing.assert_array_equal(found.folds, folds)
    assert found.seconds == 12.5
    assert not is_trained(study, FULL), "they alone are no trial"


def test_the_mean_error_of_every_row_is_in_the_table(study):
    result = train(study, FULL)
    trials = collect_trials(study, [FULL]).set_index("variant")
    errors = result.trained.val - study.data.scores[study.data.val]
    assert trials.loc["all", "mean_error"] == pytest.approx(errors.mean())
