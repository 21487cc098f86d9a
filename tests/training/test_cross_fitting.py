"""Weights and maps measured on folds that neither was fitted on."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from m3ray.model.metrics import mse, spearman
from m3ray.training.cross_fitting import compare_errors, compare_ranks, fit_members, predict_constant
from m3ray.training.member_weights import MemberRows


def rows_of(truth, *columns, folds=5):
    clips = len(truth)
    names = tuple(f"m{k}" for k in range(len(columns)))
    equal = np.full(clips, 1 / clips)
    return MemberRows(names, np.stack(columns, 1), truth, np.arange(clips) % folds, equal, np.zeros(len(columns)))


def made(clips=600, seed=0, noise=0.05):
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal(clips)
    return rng, signal, np.clip(0.7 + 0.05 * signal + noise * rng.standard_normal(clips), 0, 1)


def test_no_clip_is_predicted_by_what_saw_its_score():
    """Another score for a clip changes nothing of what its own fold is predicted."""
    _, signal, truth = made()
    other = truth.copy()
    other[0] = 0
    before, after = (fit_members(rows_of(t, signal)).predictions for t in (truth, other))
    np.testing.assert_array_equal(before[::5], after[::5])
    assert (before[1::5] != after[1::5]).any()


def test_what_is_said_is_of_those_predictions():
    _, signal, truth = made()
    fitted = fit_members(rows_of(truth, signal))
    assert fitted.spearman == pytest.approx(spearmanr(fitted.sums, truth).statistic)
    np.testing.assert_array_equal(np.clip(fitted.sums, 0, 1), fitted.predictions)
    assert fitted.mse == pytest.approx(np.mean((fitted.predictions - truth) ** 2))
    assert fitted.mean_error == pytest.approx(np.mean(fitted.predictions - truth))
    assert fitted.kind == "least squares"
    assert fitted.shares == {"m0": 1.0}


def test_a_line_is_kept_where_the_truth_is_one():
    kinds = [fit_members(rows_of(*made(seed=seed)[:0:-1])).kind for seed in range(10)]
    assert kinds.count("least squares") >= 8


def test_a_curve_is_taken_where_the_truth_is_one_and_costs_no_rank():
    rng, signal, _ = made(3000)
    truth = np.clip(1 / (1 + np.exp(-3 * signal)) + 0.05 * rng.standard_normal(3000), 0, 1)
    fitted = fit_members(rows_of(truth, signal))
    assert fitted.kind == "isotonic"
    assert spearmanr(fitted.recalibration(signal * fitted.weights["m0"]), signal).statistic == pytest.approx(1)
    assert fitted.spearman == pytest.approx(spearmanr(signal, truth).statistic, abs=1e-3)
    assert fitted.mse < 0.7 * np.mean((np.polyval(np.polyfit(signal, truth, 1), signal) - truth) ** 2)


def test_members_that_overfit_the_weights_are_shrunk():
    """Thirty members of noise beside twenty clips: nothing is said that the constant does not say better."""
    rng, _, truth = made(40)
    fitted = fit_members(rows_of(truth, *rng.standard_normal((30, 40))))
    assert fitted.mse <= np.mean((predict_constant(rows_of(truth, truth)) - truth) ** 2)


@pytest.mark.parametrize("seed", range(8))
def test_the_error_is_never_above_the_constants(seed):
    rng, _, truth = made(60, seed)
    rows = rows_of(truth, *rng.standard_normal((4, 60)))
    fitted = fit_members(rows)
    assert fitted.mse <= mse(predict_constant(rows), truth, rows.weights)
    assert fitted.caution is None or "one score for all clips" in fitted.caution


def test_members_that_are_constant_give_the_mean_score_and_say_so():
    _, _, truth = made(50)
    fitted = fit_members(rows_of(truth, np.full(50, 0.5)))
    assert (fitted.kind, fitted.spearman) == ("constant", None)
    assert fitted.recalibration.is_constant
    assert fitted.recalibration.intercept == pytest.approx(truth.mean())
    assert fitted.caution == f"no better than one score for all clips: each gets {truth.mean():.4f}"


def test_weights_of_clips_count():
    _, signal, truth = made()
    rows = rows_of(truth, signal)
    half = replace(rows, weights=np.where(truth > np.median(truth), 1.0, 0.0))
    assert fit_members(half).mse < fit_members(rows).mse
    assert abs(fit_members(half).mean_error) < 0.005


def test_comparisons_are_those_of_means():
    rng, signal, truth = made()
    worse = signal + rng.standard_normal(600)
    rows = rows_of(truth, signal)
    gain, error = compare_errors(worse, signal, rows)
    squares = (worse - truth) ** 2 - (signal - truth) ** 2
    assert (gain, error) == pytest.approx((squares.mean(), squares.std() / np.sqrt(600)))
    gain, error = compare_ranks(signal, worse, rows)
    assert gain == pytest.approx(spearmanr(signal, truth).statistic - spearmanr(worse, truth).statistic)
    assert 0 < error < gain


def test_clips_of_one_source_count_as_one():
    """Each clip ten times over: the error of the mean is that of the clips, not smaller."""
    rng, signal, truth = made(60)
    worse = signal + rng.standard_normal(60)
    once = compare_errors(worse, signal, rows_of(truth, signal))
    rows = replace(rows_of(np.repeat(truth, 10), np.repeat(signal, 10)), groups=np.repeat(np.arange(60), 10))
    assert compare_errors(np.repeat(worse, 10), np.repeat(signal, 10), rows) == pytest.approx(once)


def test_ranks_are_compared_with_the_weights_that_tables_have():
    rng, signal, truth = made(200)
    worse, weights = signal + rng.standard_normal(200), rng.lognormal(size=200)
    rows = replace(rows_of(truth, signal), weights=weights)
    expected = spearman(signal, truth, weights) - spearman(worse, truth, weights)
    assert compare_ranks(signal, worse, rows)[0] == pytest.approx(float(expected))
