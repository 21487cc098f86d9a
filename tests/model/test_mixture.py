"""A mixture of the MLP's runs and regressors, and the map of their sum."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from read_only import read_only, torch_warns_of_nothing
from safetensors.numpy import load, save

from m3ray.errors import BundleError
from m3ray.model import StackedMLP
from m3ray.model.mixture import Mixture, Recalibration
from m3ray.model.regressors import Linear

RIDGE = Linear(np.array([0.1, -0.2, 0.0]), 0.5)
SVR = Linear(np.array([0.0, 0.1, 0.1]), 0.4)
CURVE = Recalibration(0.8, 0.1, np.array([0.2, 0.5, 0.9]), np.array([0.3, 0.3, 0.8]), 0.05)


def rows(count=20, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 3)).astype(np.float32)


def mlp(runs=2):
    return StackedMLP(3, (8,), list(range(runs)))


def outputs(model, features):
    with torch.no_grad():
        return model(torch.from_numpy(features)).double().numpy()


def test_a_mixture_of_the_mlp_alone_without_a_map_is_the_mlp():
    model, features = mlp(), rows()
    np.testing.assert_array_equal(Mixture(model, {}, {"mlp": 1.0})(features), outputs(model, features))


def test_members_are_weighed_and_added_up():
    """By hand: 0.5 mlp + 0.25 ridge + 0.25 svr, then 0.9 of that and 0.05."""
    model, features = mlp(), rows()
    weights = {"mlp": 0.5, "ridge": 0.25, "svr": 0.25}
    mixture = Mixture(model, {"ridge": RIDGE, "svr": SVR}, weights, Recalibration(0.9, 0.05))
    x = features.astype(np.float64)
    ridge, svr = x @ [0.1, -0.2, 0.0] + 0.5, x @ [0.0, 0.1, 0.1] + 0.4
    expected = 0.05 + 0.9 * (0.5 * outputs(model, features) + 0.25 * ridge + 0.25 * svr)
    np.testing.assert_allclose(mixture(features), np.clip(expected, 0, 1), atol=1e-12)
    assert mixture(features).shape == (2, 20)


def test_without_an_mlp_there_is_one_run():
    mixture = Mixture(None, {"ridge": RIDGE}, {"ridge": 1.0})
    assert (mixture.runs, mixture(rows()).shape) == (1, (1, 20))


@settings(max_examples=25, deadline=None)
@given(
    weights=st.lists(st.floats(0, 50), min_size=3, max_size=3),
    slope=st.floats(0.01, 3),
    intercept=st.floats(-20, 1),
    curve=st.booleans(),
    with_mlp=st.booleans(),
)
def test_a_mixture_comes_back_from_disk_as_it_was(weights, slope, intercept, curve, with_mlp):
    line = CURVE if curve else Recalibration(slope, intercept)
    model = mlp() if with_mlp else None
    mixture = Mixture(
        model, {"ridge": RIDGE, "svr": SVR}, dict(zip(("mlp", "ridge", "svr"), weights, strict=True)), line
    ).align_runs(rows(9, 3), 0.6)
    text = json.loads(json.dumps(mixture.settings()))
    again = Mixture.load(text, load(save(mixture.tensors())), model)
    np.testing.assert_array_equal(again(rows()), mixture(rows()))
    assert again.settings() == mixture.settings()


def test_runs_are_given_one_mean():
    model, features = mlp(3), rows(50)
    mixture = Mixture(model, {}, {"mlp": 1.0}).align_runs(features, 0.6)
    np.testing.assert_allclose(mixture(features).mean(axis=1), 0.6, atol=1e-12)
    np.testing.assert_allclose(np.diff(mixture(features)), np.diff(outputs(model, features)), atol=1e-12)
    alone = Mixture(None, {"ridge": RIDGE}, {"ridge": 1.0})
    assert alone.align_runs(features, 0.6) is alone


def test_a_curve_rises_everywhere_and_its_level_pieces_too():
    sums = np.linspace(-1, 2, 400)
    scores = CURVE(sums)
    assert (np.diff(scores) > 0).all()
    # By hand at 0.35, on the level piece: 0.05 x (0.1 + 0.8 x 0.35) + 0.95 x 0.3
    assert CURVE(np.array([0.35]))[0] == pytest.approx(0.05 * 0.38 + 0.95 * 0.3)
    assert CURVE.is_curve
    assert not CURVE.is_constant


def test_a_level_line_asks_no_member():
    mixture = Mixture(mlp(), {}, {"mlp": 2.0, "gone": 1.0}, Recalibration(0.0, 0.78))
    np.testing.assert_array_equal(mixture(rows()), np.full((2, 20), 0.78))


def test_scores_stay_in_the_unit_scale():
    mixture = Mixture(None, {"ridge": RIDGE}, {"ridge": 100.0})
    assert set(np.unique(mixture(rows(200)))) >= {0.0, 1.0}
    assert mixture(rows(200)).min() == 0
    assert mixture(rows(200)).max() == 1


@pytest.mark.parametrize("lost", ["weights", "recalibration", "regressors"])
def test_what_is_missing_is_named(lost):
    mixture = Mixture(None, {"ridge": RIDGE}, {"ridge": 1.0})
    text = {key: value for key, value in mixture.settings().items() if key != lost}
    with pytest.raises(BundleError, match=f"lacks '{lost}'"):
        Mixture.load(text, mixture.tensors(), None)


def test_a_member_without_weight_is_not_written():
    mixture = Mixture(None, {"ridge": RIDGE, "svr": SVR}, {"ridge": 1.0, "svr": 0.0})
    assert list(mixture.settings()["regressors"]) == ["ridge"]
    assert list(mixture.tensors()) == ["ridge.weights"]


def test_features_that_nobody_may_write_to_are_read_without_a_warning():
    mixture = Mixture(mlp(), {}, {"mlp": 1.0})
    with torch_warns_of_nothing():
        found = mixture(read_only(rows()))
    np.testing.assert_array_equal(found, mixture(rows()))
