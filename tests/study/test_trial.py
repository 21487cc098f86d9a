"""A trial's runs on planted data: what its tables hold."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import CPU, planted, planted_tiers
from scipy import stats

from m3ray.config import TrainConfig
from m3ray.errors import StudyError
from m3ray.features.matrix import Block, Features
from m3ray.study.trial import run_trial, runs_frame, select_columns, summarise_trial
from m3ray.study.variants import Variant

FEATURES = Features(
    (),
    np.empty((0, 14), np.float32),
    (Block("raw", ("brightness", *(f"hog_{k}" for k in range(10))), True), Block("scene", ("a", "b", "c"), False)),
)


def test_missing_tiers_are_named():
    with pytest.raises(StudyError, match="no features of tier text"):
        select_columns(FEATURES, Variant("x", ("raw", "text")))


def test_a_test_split_is_measured_and_chooses_nothing():
    data = planted()
    whole = run_trial(Variant("all", ("raw",), training=TrainConfig(hidden=(8,), epochs=4)), data, (0, 1), CPU)
    assert whole.summary["test_spearman"] is None
    held, val = data.val[::2], data.val[1::2]
    split = replace(data, val=val, test=held)
    found = run_trial(Variant("all", ("raw",), training=TrainConfig(hidden=(8,), epochs=4)), split, (0, 1), CPU)
    with torch.no_grad():
        predicted = found.trained.model(torch.from_numpy(data.scaled[held])).double().numpy()
    expected = np.mean([stats.spearmanr(row, data.scores[held]).statistic for row in predicted])
    assert found.summary["test_spearman"] == pytest.approx(expected)


def test_runs_without_a_rank_correlation_are_marked_and_leave_no_nan():
    data = planted(100)
    data.scaled[data.val] = 0.0  # val clips that all look alike get one score
    training = TrainConfig(hidden=(4,), epochs=3)
    result = run_trial(Variant("all", ("raw",), training=training), data, (0, 1), torch.device("cpu"))
    assert result.summary["status"] == "2 of 2 runs diverged or are constant"
    assert result.summary["spearman"] is None
    assert not any(isinstance(v, float) and np.isnan(v) for v in result.summary.values())


def test_a_variant_s_columns_are_its_tiers_without_its_features():
    assert select_columns(FEATURES, Variant("x", ("scene", "raw"))).tolist() == [11, 12, 13, *range(11)]
    assert select_columns(FEATURES, Variant("x", ("raw",), ("hog",))).tolist() == [0]
    with pytest.raises(StudyError, match="the raw tier has no feature contrast"):
        select_columns(FEATURES, Variant("x", ("raw",), ("contrast",)))
    with pytest.raises(StudyError, match=r"no features of tier \(none asked for\)"):
        select_columns(FEATURES, Variant("x", ()))


def test_the_tables_of_a_trial_say_what_its_runs_did():
    data, variant = planted(100), Variant("all", ("raw",), training=TrainConfig(hidden=(4,), epochs=3))
    result = run_trial(variant, data, (7, 8), CPU)
    assert result.runs[["variant", "run", "seed", "epoch"]].to_records(index=False).tolist() == [
        ("all", run, seed, epoch) for run, seed in ((0, 7), (1, 8)) for epoch in (1, 2, 3)
    ]
    assert result.runs.equals(runs_frame(variant, result.trained))
    last = result.runs[result.runs["epoch"] == 3]["val_spearman"]
    assert result.summary["spearman"] == pytest.approx(last.mean())
    by_epoch = result.runs.groupby("epoch")["val_spearman"].mean()
    assert (result.summary["best_epoch"], result.summary["best_spearman"]) == (by_epoch.idxmax(), by_epoch.max())
    assert (result.summary["features"], result.summary["parameters"]) == (3, 3 * 4 + 4 + 4 + 1)
    predictions = result.predictions.set_index("clip_id")
    assert list(predictions.index) == [f"c{k}" for k in range(0, 100, 5)]
    np.testing.assert_allclose(predictions["score"], result.trained.val.mean(axis=0))
    np.testing.assert_allclose(predictions["spread"], abs(np.diff(result.trained.val, axis=0)[0]) / 2**0.5)


def test_one_run_has_no_spread():
    result = run_trial(Variant("all", ("raw",), training=TrainConfig(hidden=(4,), epochs=1)), planted(50), (0,), CPU)
    assert result.summary["spearman_std"] is None
    assert (result.predictions["spread"] == 0).all()


def test_a_trial_measures_its_ensemble_beside_its_single_runs():
    """Another number: the mean of the predictions, which a bundle predicts, against the mean of the runs' metrics."""
    data = planted_tiers(400, test=True)
    variant = Variant("all", ("raw",), training=TrainConfig(hidden=(4,), epochs=2))
    result = run_trial(variant, data, (0, 1, 2), CPU)
    for prefix, predictions, rows in (("", result.trained.val, data.val), ("test_", result.test, data.test)):
        together = predictions.mean(axis=0)
        expected = stats.spearmanr(together, data.scores[rows]).statistic
        assert result.summary[f"{prefix}ensemble_spearman"] == pytest.approx(expected)
        error = np.mean((together - data.scores[rows]) ** 2)
        assert result.summary[f"{prefix}ensemble_mse"] == pytest.approx(error)
        assert result.summary[f"{prefix}ensemble_spearman"] != pytest.approx(result.summary[f"{prefix}spearman"])
    assert result.test.shape == (3, len(data.test))


def test_one_run_that_diverged_leaves_the_means_undefined_and_is_counted():
    """The mean of the others would be that of a choice of runs."""
    data, variant = planted_tiers(400, test=True), Variant("all", ("raw",), training=TrainConfig(hidden=(4,), epochs=2))
    result = run_trial(variant, data, (0, 1, 2), CPU)
    metrics = {name: values.copy() for name, values in result.trained.metrics.items()}
    for values in metrics.values():
        values[1, -1] = np.nan
    val, test = result.trained.val.copy(), result.test.copy()
    val[1], test[1] = np.nan, np.nan
    trained = replace(result.trained, metrics=metrics, val=val)
    summary = summarise_trial(variant, result.columns, trained, data, test).summary
    assert summary["status"] == "1 of 3 runs diverged or are constant"
    undefined = ("spearman", "spearman_std", "mse", "ensemble_spearman", "ensemble_mse")
    assert [summary[name] for name in undefined] == [None] * 5
    on_test = ("test_spearman", "test_spearman_std", "test_mse", "test_ensemble_spearman", "test_ensemble_mse")
    assert [summary[name] for name in on_test] == [None] * 5
    assert summary["best_epoch"] == 1, "in which no run had diverged"
