"""Regressors are rebuilt from safetensors and JSON alone."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load, save

from m3ray.errors import BundleError
from m3ray.model.regressors import load_regressor
from m3ray.training.regressors import REGRESSORS, fit_regressor


@pytest.mark.parametrize("name", REGRESSORS)
def test_what_is_written_predicts_the_same(name):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype(np.float32)
    model = fit_regressor(name, x, 0.5 + 0.1 * x[:, 0], np.arange(60) % 5).model
    settings = json.loads(json.dumps(model.settings()))
    again = load_regressor(settings, load(save(model.tensors())))
    np.testing.assert_array_equal(again(x), model(x))
    assert again.parameters == model.parameters


def test_an_unknown_kind_is_refused():
    with pytest.raises(BundleError, match="unknown regressor forest, expected one of constant, linear, kernel, trees"):
        load_regressor({"kind": "forest"}, {})


def test_a_missing_array_is_named():
    with pytest.raises(BundleError, match="the linear regressor lacks 'weights'"):
        load_regressor({"kind": "linear", "intercept": 0.5}, {})


def test_prediction_needs_no_scikit_learn():
    code = "import m3ray.model.regressors, sys; print('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
