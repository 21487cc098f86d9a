"""Kernel models: prediction against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVR

from m3ray.model.regressors.kernel import KernelModel, gaussian_kernel


def make_rows(clips: int = 60) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(clips, 5)).astype(np.float32)


def make_model(scale: float = 1.0) -> tuple[KernelModel, SVR]:
    x = make_rows()
    y = 0.5 + 0.1 * np.sin(x[:, 0])
    axes = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 3)))[0].astype(np.float32)
    peer = SVR(gamma=0.3, C=1.0, epsilon=0.01).fit(x @ axes, y)
    model = KernelModel(
        np.zeros(5), axes, peer.support_vectors_.astype(np.float32), peer.dual_coef_[0], float(peer.intercept_[0]), 0.3
    )
    return model, peer


def test_predicts_what_scikit_learn_predicts():
    model, peer = make_model()
    rows = np.random.default_rng(2).normal(size=(40, 5)).astype(np.float32)
    np.testing.assert_allclose(model(rows), peer.predict(rows @ model.axes), rtol=0, atol=1e-6)


def test_the_kernel_is_scikit_learns():
    a, b = make_rows(7), make_rows(9)
    np.testing.assert_allclose(gaussian_kernel(a, b, 0.4), rbf_kernel(a, b, 0.4), rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.diag(gaussian_kernel(a, a, 0.4)), 1, rtol=0, atol=1e-12)


def test_the_mean_is_subtracted_first():
    model, _ = make_model()
    shifted = KernelModel(np.full(5, 2.0), model.axes, model.vectors, model.coefficients, model.intercept, model.gamma)
    rows = make_rows(10)
    np.testing.assert_allclose(shifted(rows + 2), model(rows), rtol=0, atol=1e-6)


def test_parameters_are_vectors_coefficients_and_the_intercept():
    model, peer = make_model()
    assert model.parameters == len(peer.support_) * (3 + 1) + 1


def test_without_support_vectors_it_is_its_intercept():
    model = KernelModel(np.zeros(2), np.eye(2, dtype=np.float32), np.empty((0, 2), np.float32), np.empty(0), 0.4, 1.0)
    assert model(np.ones((3, 2), np.float32)).tolist() == [0.4] * 3


@pytest.mark.parametrize("name", ["mean", "axes", "vectors", "coefficients"])
def test_is_rebuilt_from_what_it_gives(name):
    model, _ = make_model()
    again = KernelModel.load(model.settings(), model.tensors())
    np.testing.assert_array_equal(getattr(again, name), getattr(model, name))
    np.testing.assert_array_equal(again(make_rows()), model(make_rows()))


def test_a_feature_that_is_not_a_number_has_no_score():
    rows = make_rows(2)
    rows[0, 0] = np.nan
    assert np.isnan(make_model()[0](rows)).tolist() == [True, False]
