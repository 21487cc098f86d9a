"""The constant."""

from __future__ import annotations

import numpy as np

from m3ray.model.regressors.constant import Constant


def test_every_clip_gets_the_score():
    model = Constant(0.7, 3)
    assert model(np.zeros((4, 3), np.float32)).tolist() == [0.7] * 4
    assert model.parameters == 1


def test_a_feature_that_is_not_a_number_has_no_score():
    rows = np.array([[0, np.nan], [0, 1]], np.float32)
    np.testing.assert_array_equal(Constant(0.7, 2)(rows), [np.nan, 0.7])


def test_is_rebuilt_from_its_settings():
    model = Constant(0.1 + 0.2, 3)
    assert Constant.load(model.settings(), model.tensors()) == model
