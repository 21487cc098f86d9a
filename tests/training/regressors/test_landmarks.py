"""A kernel by landmarks: with all clips as landmarks it is kernel ridge regression."""

from __future__ import annotations

import numpy as np
from sklearn.kernel_ridge import KernelRidge

from m3ray.model.regressors.kernel import gaussian_kernel
from m3ray.training.regressors.base import TrainRows
from m3ray.training.regressors.landmarks import draw_landmarks, fit_landmarks


def make_rows(clips: int = 60) -> TrainRows:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(clips, 2)).astype(np.float32)
    scores = np.sin(2 * z[:, 0]) + 0.3 * rng.normal(size=clips)
    return TrainRows(z, scores - scores.mean(), np.ones(clips), np.arange(clips) % 5)


def test_is_kernel_ridge_regression_where_every_clip_is_a_landmark():
    rows = make_rows()
    fit = fit_landmarks(rows.features, rows, rows.features, 0.5)
    found = gaussian_kernel(rows.features, rows.features, 0.5) @ fit.coefficients + fit.intercept
    # Its intercept is not penalised: the kernel of centred features, and centred scores.
    center = np.eye(60) - 1 / 60
    kernel = center @ gaussian_kernel(rows.features, rows.features, 0.5) @ center
    peer = KernelRidge(alpha=fit.choice.penalty, kernel="precomputed").fit(kernel, rows.scores)
    np.testing.assert_allclose(found, peer.predict(kernel) + rows.scores.mean(), rtol=0, atol=1e-5)


def test_learns_what_no_line_fits():
    rows = make_rows(200)
    fit = fit_landmarks(rows.features, rows, draw_landmarks(rows.features, 40, 0), 0.5)
    assert fit.choice.error < 0.6 * rows.scores.var()


def test_landmarks_are_clips_and_drawn_by_the_seed():
    z = np.arange(40.0).reshape(20, 2)
    found = draw_landmarks(z, 5, seed=3)
    assert found.shape == (5, 2)
    assert {tuple(row) for row in found} <= {tuple(row) for row in z}
    np.testing.assert_array_equal(found, draw_landmarks(z, 5, seed=3))
    assert len(draw_landmarks(z, 50, seed=3)) == 20
