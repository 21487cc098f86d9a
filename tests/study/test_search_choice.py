"""The choice among a search's settings: by the ranking and the error together, never a model that says one thing."""

import numpy as np
import pandas as pd
import pytest

from m3ray.model.calibrated_error import calibrated_mse
from m3ray.model.metrics import spearman
from m3ray.study.search_choice import (
    MSE_SLACK,
    OBJECTIVES,
    measure_objective,
    rank_settings,
    read_report,
    report_epoch,
)
from m3ray.study.statistics import compare_runs


def make_frame(*rows):
    """Rows of (name, Spearman, recalibrated MSE, complete)."""
    frame = pd.DataFrame(rows, columns=["name", "spearman", "calibrated_mse", "complete"])
    return frame.assign(balanced=(frame["spearman"] + 1 - frame["calibrated_mse"] / 0.011) / 2)


def order(frame, metric="spearman"):
    return rank_settings(frame, metric)["name"].tolist()


def test_the_best_ranking_is_not_chosen_where_its_error_is_far_off():
    """Better by 0.001 in rank, and its error as large as that of a constant where the variance is 0.011."""
    frame = make_frame(("mse", 0.590, 0.0075, True), ("spearman", 0.591, 0.0103, True), ("tails", 0.585, 0.0074, True))
    assert order(frame) == ["mse", "tails", "spearman"]
    assert rank_settings(frame, "spearman")["admissible"].tolist() == [True, True, False]


def test_the_best_ranking_is_chosen_where_its_error_is_good():
    """A loss of ranks alone is as good as another once a line has put it on the scores' scale."""
    frame = make_frame(("mse", 0.590, 0.0075, True), ("spearman", 0.591, 0.0076, True))
    assert order(frame) == ["spearman", "mse"]


def test_the_slack_is_a_tenth_of_the_lowest_error():
    assert MSE_SLACK == 0.10
    inside, outside = 0.0109999, 0.0110001
    frame = make_frame(("low", 0.3, 0.01, True), ("inside", 0.4, inside, True), ("outside", 0.5, outside, True))
    assert order(frame) == ["inside", "low", "outside"]


def test_an_error_that_was_stopped_early_sets_no_bound():
    frame = make_frame(("whole", 0.4, 0.02, True), ("cut", 0.9, 0.001, False))
    assert order(frame) == ["whole", "cut"]
    assert rank_settings(frame, "spearman")["admissible"].tolist() == [True, False]


@pytest.mark.parametrize("metric", OBJECTIVES)
def test_what_is_constant_or_diverged_is_never_the_best(metric):
    frame = make_frame(("none", np.nan, np.nan, True), ("some", 0.1, 0.02, True), ("half", 0.9, np.nan, True))
    ranked = rank_settings(frame, metric)
    assert ranked["name"].iloc[0] == "some"
    assert ranked["admissible"].tolist() == [True, False, False]


def test_each_objective_has_its_own_best():
    frame = make_frame(("rank", 0.60, 0.0080, True), ("error", 0.50, 0.0074, True), ("both", 0.58, 0.00745, True))
    assert [order(frame, metric)[0] for metric in ("spearman", "mse", "balanced")] == ["rank", "error", "both"]


def make_runs(noise=0.5, clips=400, runs=4, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal(clips)
    return truth + noise * rng.standard_normal((runs, clips)), truth, rng.uniform(0.5, 3, clips)


def report(runs, truth, weights=None):
    metrics = {
        "spearman": spearman(runs, truth, weights),
        "mse": ((runs - truth) ** 2).mean(axis=1),
        "calibrated_mse": calibrated_mse(runs, truth, weights),
    }
    return metrics, report_epoch(metrics, truth, weights)


@pytest.mark.parametrize("weighted", [False, True])
def test_an_epoch_reports_means_over_runs(weighted):
    runs, truth, weights = make_runs()
    weights = weights if weighted else None
    metrics, found = report(runs, truth, weights)
    assert found["spearman"] == pytest.approx(metrics["spearman"].mean())
    assert found["spearman_std"] == pytest.approx(metrics["spearman"].std(ddof=1))
    variance = np.cov(truth, aweights=weights, ddof=0)
    r_squared = 1 - metrics["calibrated_mse"].mean() / variance
    assert found["balanced"] == pytest.approx((metrics["spearman"].mean() + r_squared) / 2)
    assert read_report(found) == {name: found[name] for name in ("spearman", "mse", "calibrated_mse", "balanced")}


def test_a_run_that_is_constant_makes_the_setting_undefined():
    """Tune gets numbers as bad as can be, the table none."""
    runs, truth, _ = make_runs()
    runs[2] = 0.5
    _, found = report(runs, truth)
    assert all(np.isfinite(value) for value in found.values())
    assert found["spearman"] < -1
    read = read_report(found)
    assert np.isfinite(read["mse"]), "an error it has"
    assert np.isnan([read[name] for name in ("spearman", "calibrated_mse", "balanced")]).all()


def test_an_older_report_has_no_recalibrated_error():
    read = read_report({"epoch": 3, "spearman": 0.4, "mse": 0.01})
    assert (read["spearman"], read["mse"]) == (0.4, 0.01)
    assert np.isnan([read["calibrated_mse"], read["balanced"]]).all()


def test_what_is_measured_is_what_was_reported():
    runs, truth, weights = make_runs()
    _, found = report(runs, truth, weights)
    for metric, column in (("spearman", "spearman"), ("mse", "calibrated_mse"), ("balanced", "balanced")):
        assert measure_objective(runs, truth, metric, weights).values.mean() == pytest.approx(found[column])


@pytest.mark.parametrize("metric", OBJECTIVES)
def test_a_constant_run_is_measured_as_undefined(metric):
    runs, truth, _ = make_runs()
    runs[1] = 0.3
    assert np.isfinite(measure_objective(runs, truth, metric).values).tolist() == [True, False, True, True]


def test_the_interval_of_the_balanced_difference_has_the_bootstrap_s_width():
    """Reference: 1,000 resamples of the clips, models trained with no noise over runs but what the clips have."""
    rng = np.random.default_rng(3)
    runs, truth, _ = make_runs(noise=0.8, runs=1, clips=300)
    full, row = np.repeat(runs, 2, axis=0), np.repeat(truth + 0.6 * rng.standard_normal((1, 300)), 2, axis=0)

    def balance(predictions, rows):
        y, p = truth[rows], predictions[0, rows]
        return measure_objective(p[None], y, "balanced").values[0]

    drawn = [rng.integers(0, 300, 300) for _ in range(1000)]
    expected = np.std([balance(row, rows) - balance(full, rows) for rows in drawn])
    found = compare_runs(*(measure_objective(predictions, truth, "balanced") for predictions in (full, row)))
    assert found.estimate == pytest.approx(balance(row, np.arange(300)) - balance(full, np.arange(300)))
    assert (found.high - found.low) / 2 / 1.97 == pytest.approx(expected, rel=0.1), "97.5 % of Student's at 299"
