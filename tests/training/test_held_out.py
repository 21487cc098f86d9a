"""Scores of settings on held-out clips, against scikit-learn's and numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_studies import LINEAR, make_study
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from m3ray.config import TrainConfig
from m3ray.features.target import Target
from m3ray.training.held_out import Curves, recalibrated_mse, score_held_out
from m3ray.training.own_units import make_split
from m3ray.training.stacked import train_runs


def test_the_recalibration_is_scikit_learns_line_with_each_clip_left_out():
    generator = np.random.default_rng(0)
    truth = generator.random(30)
    outputs = 0.3 * truth + 0.02 * generator.standard_normal(30)
    line = cross_val_predict(LinearRegression(), outputs[:, None], truth, cv=LeaveOneOut())
    expected = np.mean((line - truth) ** 2) / truth.var()
    assert recalibrated_mse(outputs, truth) == pytest.approx(expected, rel=1e-9)


def test_a_weight_of_two_is_no_weight_of_zero():
    truth, outputs = np.random.default_rng(1).random((2, 20))
    weights = np.r_[np.zeros(10), np.full(10, 2.0)]
    kept = recalibrated_mse(outputs[10:], truth[10:])
    assert recalibrated_mse(outputs, truth, weights) == pytest.approx(kept, rel=1e-9)


def test_wrong_way_round_and_constant_outputs_are_worth_what_the_mean_is():
    """The mean of the other n - 1 clips leaves (n / (n - 1))^2 of the variance."""
    truth = np.linspace(0, 1, 11)
    for outputs in (1 - truth, np.full(11, 0.4)):
        assert recalibrated_mse(outputs, truth) == pytest.approx((11 / 10) ** 2, rel=1e-9)


def test_a_shift_and_a_scale_cost_nothing():
    truth = np.linspace(0, 1, 11)
    assert recalibrated_mse(0.1 * truth + 0.3, truth) == pytest.approx(0, abs=1e-20)


def test_the_score_is_the_mean_of_rank_correlation_and_explained_variance():
    # A constant has no rank correlation, and explains nothing; what diverged has no error either.
    curves = Curves(np.array([0.6, np.nan, np.nan, 1.0]), np.array([0.8, 1.0, np.nan, 0.0]))
    np.testing.assert_allclose(curves.score, [(0.6 + 0.2) / 2, 0, -1, 1])


def test_curves_are_those_of_train_runs():
    """The same seed, order and settings: rank correlation on the held-out clips after each epoch."""
    data = make_study(lambda x: x[:, 0], rows=260)
    held_out = np.arange(len(data.train)) % 5 == 0
    configs = [replace(LINEAR, weight_decay=w, start="mean") for w in (1e-3, 1e-1)]
    curves = score_held_out(data, np.arange(20), configs, 3, held_out)
    matrix = torch.from_numpy(data.scaled)
    fit, rest = (make_split(matrix, data, data.train[part]) for part in (~held_out, held_out))
    expected = train_runs(fit, rest, configs, [3, 3]).metrics["spearman"]
    np.testing.assert_allclose([c.spearman for c in curves], expected, atol=1e-6)


def test_clips_without_weight_have_no_part():
    """Half the train clips have turned scores: with weight 0 they neither teach nor judge."""
    data = make_study(lambda x: x[:, 0], columns=3)
    odd = np.arange(500) % 2 == 1
    turned = replace(data, scores=np.where(odd, 1 - data.scores, data.scores).astype(np.float32))
    weights = np.where(odd, 0, 2).astype(np.float32)
    held_out = np.arange(400) % 5 < 2
    plain, weighted = (
        score_held_out(d, np.arange(3), [LINEAR], 0, held_out)[0].spearman.max()
        for d in (turned, replace(turned, weights=weights))
    )
    assert weighted > 0.6
    assert abs(plain) < 0.3


def test_a_target_of_other_units_is_mapped_for_the_model():
    data = make_study(lambda x: x[:, 0], rows=160, columns=3)
    wide = replace(data, scores=data.scores * 10 - 5, target=Target("d_prime", -5.0, 5.0))
    config, held_out = TrainConfig(hidden=(8,), epochs=3), np.arange(60) % 5 == 0
    one, two = (score_held_out(d, np.arange(3), [config], 0, held_out)[0].spearman for d in (data, wide))
    np.testing.assert_allclose(one, two, atol=2e-2)
