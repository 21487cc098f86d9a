"""Scores in [0, 1] for a model, errors in the target's units for everybody else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from m3ray.config import TrainConfig
from m3ray.features.dataset import StudyData
from m3ray.features.matrix import Block, Features
from m3ray.features.target import Target
from m3ray.model.calibrated_error import calibrated_mse
from m3ray.training.own_units import in_own_units, make_split, report_in_own_units
from m3ray.training.stacked import train_runs

CLIPS = 60


def make_data(target="score", responses=None, **settings):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((CLIPS, 3)).astype(np.float32)
    scores = 1 / (1 + np.exp(-values[:, 0]))
    if target != "score":
        scores = 4 * scores - 1
    features = Features(tuple(f"c{k}" for k in range(CLIPS)), values, (Block("raw", ("a", "b", "c"), True),))
    splits = ["train" if k % 3 else "val" for k in range(CLIPS)]
    return StudyData.make(features, scores, splits, target, responses, **settings)


def train(data, **settings):
    matrix = torch.from_numpy(data.scaled)
    fit_part, val = (make_split(matrix, data, rows) for rows in (data.train, data.val))
    return train_runs(fit_part, val, TrainConfig(hidden=(4,), epochs=2), (0, 1), **settings)


def test_a_model_sees_scores_in_the_unit_interval():
    data = make_data("d_prime")
    assert data.scores.min() < 0
    scores = make_split(torch.from_numpy(data.scaled), data, data.train)[1]
    assert scores.dtype == torch.float32
    assert ((scores > 0.04) & (scores < 0.96)).all(), "a margin of 5 % of the range, of 110 %"
    np.testing.assert_allclose(data.target.from_unit(scores.numpy()), data.scores[data.train], atol=1e-6)


def test_a_linear_map_of_the_scores_changes_no_run_but_for_the_units():
    """4 y - 1, mapped to [0, 1] and back: errors grow by the map's width, squared for MSE; ranks stay as they are."""
    data = make_data("d_prime")
    raw, own = train(data), in_own_units(train(data), data.target)
    np.testing.assert_allclose(own.val, data.target.low + data.target.span * raw.val)
    truth = data.scores[data.val]
    np.testing.assert_allclose(own.metrics["mse"][:, -1], ((own.val - truth) ** 2).mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(own.metrics["mae"][:, -1], np.abs(own.val - truth).mean(axis=1), rtol=1e-5)
    for name in ("spearman", "kendall"):
        np.testing.assert_array_equal(own.metrics[name], raw.metrics[name])
    told = []
    train(data, on_epoch=report_in_own_units(lambda epoch, metrics: told.append((epoch, metrics)), data.target))
    np.testing.assert_allclose(told[-1][1]["mse"], own.metrics["mse"][:, -1])
    np.testing.assert_allclose(told[-1][1]["calibrated_mse"], calibrated_mse(own.val, truth), rtol=1e-5)


def test_shares_stay_as_they_are():
    data = make_data()
    trained = train(data)
    assert in_own_units(trained, data.target) is trained
    assert report_in_own_units(print, Target()) is print


def test_weights_go_into_the_loss_and_the_metrics():
    responses = np.random.default_rng(1).integers(2, 90, CLIPS).astype(float)
    data = make_data(responses=responses, weigh=True)
    *_, weights = make_split(torch.from_numpy(data.scaled), data, data.val)
    np.testing.assert_allclose(weights, responses[data.val] / responses[data.train].mean(), rtol=1e-6)
    weighed, alike = train(data), train(replace(data, weights=None))
    expected = np.average((weighed.val - data.scores[data.val]) ** 2, axis=1, weights=responses[data.val])
    np.testing.assert_allclose(weighed.metrics["mse"][:, -1], expected, rtol=1e-5)
    assert not np.allclose(weighed.val, alike.val, atol=1e-4), "the loss has other weights"
    assert weighed.val == pytest.approx(train(replace(data, weights=data.weights * 3)).val, abs=1e-6)
