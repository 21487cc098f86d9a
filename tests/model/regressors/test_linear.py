"""The linear model."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import Ridge

from m3ray.model.regressors.linear import Linear


def test_predicts_what_scikit_learn_predicts():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 4)).astype(np.float32), rng.random(50)
    peer = Ridge(2.0).fit(x.astype(np.float64), y)
    model = Linear(peer.coef_, float(peer.intercept_))
    np.testing.assert_allclose(model(x), peer.predict(x.astype(np.float64)), rtol=0, atol=1e-12)
    assert model.parameters == 4 + 1


def test_a_feature_that_is_not_a_number_has_no_score():
    rows = np.array([[0, np.nan], [0, 1]], np.float32)
    np.testing.assert_array_equal(Linear(np.ones(2), 0.5)(rows), [np.nan, 1.5])


def test_is_rebuilt_from_what_it_gives():
    model = Linear(np.array([0.1, -2.0]), 0.3)
    again = Linear.load(model.settings(), model.tensors())
    assert again.intercept == 0.3
    np.testing.assert_array_equal(again.weights, model.weights)
