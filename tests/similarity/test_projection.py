"""Whitened PCA before every measure."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from m3ray.errors import FeatureError, ShapeError, StudyError
from m3ray.similarity import Projection, projection


def test_projection_needs_more_clips_than_components():
    with pytest.raises(StudyError, match="10 components need more than 10"):
        Projection(10).fit(np.random.default_rng(0).random((10, 40)))


def test_projection_whitens_and_ignores_constant_columns():
    rows = np.random.default_rng(0).standard_normal((200, 12))
    rows[:, 5] = 3.0
    z = Projection(10).fit(rows).transform(rows)
    np.testing.assert_allclose(z.std(axis=0, ddof=1), 1, rtol=1e-6)
    with pytest.raises(ShapeError):
        Projection(10).fit(rows).transform(rows[:, :5])


@pytest.mark.parametrize("shape", [(60, 12), (40, 300)])
def test_projections_are_those_of_scikit_learn_s_whitened_pca(shape):
    rng = np.random.default_rng(3)
    rows = rng.standard_normal(shape) * np.linspace(5, 1, shape[1]) + 2
    expected = PCA(5, whiten=True, svd_solver="full").fit_transform(rows)
    np.testing.assert_allclose(Projection(5).fit(rows).transform(rows), expected, rtol=1e-9, atol=1e-9)


def test_new_clips_do_not_move_the_centre():
    rows = np.random.default_rng(4).standard_normal((30, 6))
    projection = Projection(3).fit(rows)
    shifted = projection.transform(rows + 7)
    np.testing.assert_allclose(shifted - shifted.mean(0), projection.transform(rows), atol=1e-9)
    assert np.abs(shifted.mean(0)).max() > 1


@pytest.mark.parametrize(
    ("shape", "solver"), [((5000, 720), "full"), ((7000, 2048), "covariance_eigh"), ((1500, 2048), "randomized")]
)
def test_large_data_have_a_solver_that_is_fast_and_gives_the_same(monkeypatch, shape, solver):
    assert projection._solver(shape) == solver
    rows = np.random.default_rng(5).standard_normal((60, 12)) * np.linspace(9, 1, 12)
    exact = Projection(3).fit(rows).transform(rows)
    monkeypatch.setattr(projection, "_solver", lambda _: solver)
    np.testing.assert_allclose(Projection(3, seed=1).fit(rows).transform(rows), exact, rtol=1e-6, atol=1e-6)


def test_rows_that_are_not_finite_are_named():
    rows = np.random.default_rng(6).standard_normal((30, 6))
    rows[4, 1] = np.inf
    with pytest.raises(FeatureError, match="row 4"):
        Projection(3).fit(rows)
