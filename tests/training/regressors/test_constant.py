"""The constant."""

from __future__ import annotations

import numpy as np

from m3ray.training.regressors.base import TrainRows
from m3ray.training.regressors.constant import fit_constant


def make_rows(weights=(1, 1, 1, 3)) -> TrainRows:
    scores = np.array([0.1, 0.2, 0.3, 0.8])
    return TrainRows(np.zeros((4, 2), np.float32), scores, np.array(weights, float), np.array([0, 0, 1, 1]))


def test_is_the_weighted_mean_and_out_of_fold_the_others():
    fit = fit_constant(make_rows())
    assert fit.model(np.zeros((1, 2)))[0] == np.average([0.1, 0.2, 0.3, 0.8], weights=[1, 1, 1, 3])
    np.testing.assert_allclose(fit.out_of_fold[:2], (0.3 + 3 * 0.8) / 4)
    np.testing.assert_allclose(fit.out_of_fold[2:], (0.1 + 0.2) / 2)


def test_clips_that_all_weigh_nothing_count_alike():
    np.testing.assert_allclose(fit_constant(make_rows((0, 0, 1, 1))).out_of_fold[2:], (0.1 + 0.2) / 2)
