"""Principal components."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from m3ray.training.regressors import components
from m3ray.training.regressors.components import fit_components


def make_features(clips: int = 80, columns: int = 6) -> np.ndarray:
    return (np.random.default_rng(0).normal(size=(clips, columns)) * np.arange(1, columns + 1)).astype(np.float32)


@pytest.mark.parametrize("exact", [5, 1000])
def test_components_are_scikit_learns(exact, monkeypatch):
    monkeypatch.setattr(components, "_EXACT", exact)
    x = make_features()
    found = fit_components(x, 3, seed=0)
    peer = PCA(3, svd_solver="full").fit(x.astype(np.float64))
    np.testing.assert_allclose(found.deviations, np.sqrt(peer.explained_variance_), rtol=1e-3)
    turn = np.abs(found.axes.T @ peer.components_.T)
    np.testing.assert_allclose(turn, np.eye(3), atol=0.05)


def test_directions_without_variance_are_left_out():
    x = make_features()
    x[:, 5] = x[:, 4]
    x[:, 3] = 7
    assert fit_components(x, 10, seed=0).axes.shape == (6, 4)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_scaled_components_have_a_total_variance_of_one(power):
    x = make_features()
    found = fit_components(x, 6, seed=0)
    variances = ((x - found.mean) @ found.scale(power)).var(axis=0, ddof=1)
    assert variances.sum() == pytest.approx(1, rel=1e-4)
    expected = found.deviations ** (2 - 2 * power)
    np.testing.assert_allclose(variances, expected / expected.sum(), rtol=1e-3)


def test_the_same_seed_gives_the_same_components(monkeypatch):
    monkeypatch.setattr(components, "_EXACT", 5)
    x = make_features()
    np.testing.assert_array_equal(fit_components(x, 3, seed=1).axes, fit_components(x, 3, seed=1).axes)
