"""Runs whose weights or scores are not finite."""

import numpy as np
import pytest
import torch
from read_only import read_only, torch_warns_of_nothing

from m3ray.errors import BundleError
from m3ray.model import StackedMLP
from m3ray.scoring.diverged import describe_dropped, drop_runs, find_finite_runs, split_seeds


def model_of(diverged=(), runs=3, value=float("nan")):
    model = StackedMLP(4, (8,), list(range(runs)))
    with torch.no_grad():
        for run in diverged:
            model.weights[0][run, 0, 0] = value
    return model


FEATURES = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_runs_with_a_weight_that_is_no_number_are_found(value):
    assert find_finite_runs(model_of([1], value=value), FEATURES).tolist() == [True, False, True]


def test_runs_whose_scores_overflow_are_found():
    """Finite weights: 3e38 times 4 is infinite, and infinite less infinite is no number."""
    model = model_of()
    with torch.no_grad():
        for layer in model.weights:
            layer[2] = 3e38
        model.weights[1][2, :, ::2] = -3e38
    assert find_finite_runs(model, np.full((1, 4), 4, np.float32)).tolist() == [True, True, False]


def test_the_others_score_as_before():
    model = model_of([1])
    kept = drop_runs(model, np.array([True, False, True]), "m")
    inputs = torch.from_numpy(FEATURES)
    with torch.no_grad():
        torch.testing.assert_close(kept(inputs), model(inputs)[[0, 2]])
    assert drop_runs(model, np.ones(3, bool), "m") is model


def test_a_bundle_of_which_every_run_diverged_is_an_error():
    with pytest.raises(BundleError, match=r"m: all 3 runs diverged .* lower learning rate"):
        drop_runs(model_of([0, 1, 2]), np.zeros(3, bool), "m")


def test_seeds_are_parted_and_named():
    assert split_seeds((7, 8, 9), np.array([True, False, True])) == ([7, 9], [8])
    assert split_seeds((), np.array([True, False])) == ([0], [1]), "an older bundle does not know its seeds"
    assert describe_dropped([8]) == "1 more run diverged and was dropped (seed 8)"
    assert describe_dropped([1, 8]) == "2 more runs diverged and were dropped (seed 1, 8)"


def test_features_that_nobody_may_write_to_are_read_without_a_warning():
    with torch_warns_of_nothing():
        assert find_finite_runs(model_of(), read_only(FEATURES)).all()
