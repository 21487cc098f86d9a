"""Each metric against SciPy's and scikit-learn's."""

import numpy as np
import pytest
from scipy.stats import kendalltau, rankdata, spearmanr
from sklearn.metrics import mean_absolute_error, mean_squared_error

from m3ray.model import metrics
from m3ray.model.metrics import METRICS, weighted_ranks

PEERS = {
    "spearman": lambda p, y: spearmanr(p, y).statistic,
    "mse": mean_squared_error,
    "mae": mean_absolute_error,
    "kendall": lambda p, y: kendalltau(p, y).statistic,
}


@pytest.mark.parametrize("name", METRICS)
def test_agrees_with_its_peer(name):
    rng = np.random.default_rng(0)
    p, y = rng.random((3, 50)).round(1), rng.random(50).round(1)  # rounded: with ties
    found = METRICS[name](p, y)
    assert found.shape == (3,)
    np.testing.assert_allclose(found, [PEERS[name](row, y) for row in p], rtol=1e-9)


def test_a_constant_prediction_has_no_rank_correlation():
    assert np.isnan(METRICS["spearman"](np.ones((1, 5)), np.arange(5.0))).all()


def test_metrics_by_hand():
    """Of four clips two are swapped: one of six pairs is discordant, and the squared rank differences sum to 2."""
    prediction, score = np.array([[0.1, 0.3, 0.2, 0.4]]), np.array([0.1, 0.2, 0.3, 0.4])
    assert METRICS["spearman"](prediction, score).item() == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert METRICS["kendall"](prediction, score).item() == pytest.approx((5 - 1) / 6)
    assert METRICS["mse"](prediction, score).item() == pytest.approx(2 * 0.1**2 / 4)
    assert METRICS["mae"](prediction, score).item() == pytest.approx(2 * 0.1 / 4)


@pytest.mark.parametrize("name", METRICS)
def test_whole_weights_are_repetitions_of_clips(name):
    """The peers, on each clip as often as its weight says; predictions and scores have ties."""
    rng = np.random.default_rng(1)
    p, y = rng.random((3, 40)).round(1), rng.random(40).round(1)
    times = rng.integers(0, 6, 40)
    found = METRICS[name](p, y, times)
    expected = [PEERS[name](np.repeat(row, times), np.repeat(y, times)) for row in p]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_equal_weights_are_none(name):
    rng = np.random.default_rng(2)
    p, y = rng.random((2, 4, 30)).round(1), rng.random(30).round(1)
    for weight in (1.0, 37.5):
        found = METRICS[name](p, y, np.full(30, weight))
        assert found.shape == (2, 4)
        np.testing.assert_allclose(found, METRICS[name](p, y), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["spearman", "kendall"])
def test_a_constant_has_no_weighted_rank_correlation(name):
    weights = np.array([3.0, 1.0, 2.0, 5.0, 0.1])
    assert np.isnan(METRICS[name](np.full((1, 5), 0.3), np.arange(5.0), weights)).all()
    assert np.isnan(METRICS[name](np.arange(5.0)[None], np.full(5, 0.3), weights)).all()
    # All but one clip weigh nothing: nothing is left to rank.
    assert np.isnan(METRICS[name](np.arange(5.0)[None], np.arange(5.0), np.array([0, 0, 1.0, 0, 0]))).all()


@pytest.mark.parametrize("name", METRICS)
def test_a_run_that_diverged_stays_undefined(name):
    p = np.array([[0.1, np.nan, 0.3], [0.1, 0.2, 0.3]])
    found = METRICS[name](p, np.array([0.3, 0.2, 0.5]), np.array([1.0, 2.0, 3.0]))
    assert np.isnan(found[0])
    assert np.isfinite(found[1])


def test_ranks_of_equal_weights_are_mean_ranks_less_a_half():
    values = np.array([[0.3, 0.1, 0.3, 0.2], [1.0, 1.0, 1.0, 1.0]])
    np.testing.assert_allclose(weighted_ranks(values, np.ones(4)), rankdata(values, axis=-1) - 0.5)


def test_many_clips_are_compared_in_parts(monkeypatch):
    rng = np.random.default_rng(3)
    p, y, weights = rng.random((2, 25)), rng.random(25), rng.random(25)
    whole = METRICS["kendall"](p, y, weights)
    monkeypatch.setattr(metrics, "_PAIRS_AT_ONCE", 60)
    np.testing.assert_allclose(METRICS["kendall"](p, y, weights), whole, rtol=1e-12)


def test_a_constant_has_no_weighted_rank_correlation_whatever_the_weights_type():
    rng = np.random.default_rng(0)
    for _ in range(50):
        weights = rng.integers(20, 120, 80).astype(np.float32)
        rho = METRICS["spearman"](np.full(80, 0.7), rng.random(80), weights / weights.mean())
        assert np.isnan(rho)
