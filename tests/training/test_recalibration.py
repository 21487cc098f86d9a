"""Lines and isotonic curves from outputs to scores."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression

from m3ray.training.recalibration import LINE_SHARE, fit_isotonic, fit_line, share_weights


def made(count=400, seed=0):
    rng = np.random.default_rng(seed)
    outputs = rng.random(count)
    return outputs, np.clip(outputs**3 + 0.05 * rng.standard_normal(count), 0, 1), rng.random(count) + 0.1


def test_the_line_is_that_of_least_squares():
    outputs, truth, weights = made()
    ours = fit_line(outputs, truth, weights)
    peer = LinearRegression().fit(outputs[:, None], truth, sample_weight=weights)
    assert (ours.slope, ours.intercept) == pytest.approx((peer.coef_[0], peer.intercept_))


@pytest.mark.parametrize("outputs", [-made()[0], np.full(400, 0.5)], ids=["falling", "constant"])
def test_a_line_that_would_fall_is_level_at_the_mean(outputs):
    truth = made()[1]
    for fit in (fit_line, fit_isotonic):
        line = fit(outputs, truth)
        assert line.is_constant
        assert line.intercept == pytest.approx(truth.mean())


def test_the_curve_is_scikit_learns_with_a_little_of_the_line():
    outputs, truth, weights = made()
    curve, line = fit_isotonic(outputs, truth, weights), fit_line(outputs, truth, weights)
    grid = np.linspace(-0.2, 1.2, 300)
    peer = IsotonicRegression(out_of_bounds="clip").fit(outputs, truth, sample_weight=weights).predict(grid)
    np.testing.assert_allclose(curve(grid), LINE_SHARE * line(grid) + (1 - LINE_SHARE) * peer, atol=1e-9)
    assert (np.diff(curve(grid)) > 0).all()


def test_a_curve_loses_no_rank_and_has_few_knots():
    outputs, truth, _ = made(20_000)
    curve = fit_isotonic(outputs, truth)
    assert len(curve.knots) <= 200
    assert spearmanr(curve(outputs), outputs).statistic == pytest.approx(1)
    assert np.mean((curve(outputs) - truth) ** 2) < 0.5 * np.mean((fit_line(outputs, truth)(outputs) - truth) ** 2)


def test_weights_sum_to_one():
    np.testing.assert_allclose(share_weights(np.array([1.0, 3.0]), 2), [0.25, 0.75])
    np.testing.assert_allclose(share_weights(None, 4), [0.25] * 4)
    np.testing.assert_allclose(share_weights(np.zeros(4), 4), [0.25] * 4)
