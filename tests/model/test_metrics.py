"""Each metric against SciPy's and scikit-learn's."""

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr
from sklearn.metrics import mean_absolute_error, mean_squared_error

from m3ray.model.metrics import METRICS

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
