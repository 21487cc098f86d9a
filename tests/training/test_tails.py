"""How unlike mse_tails weighs scores, by hand and on scores spread as Memento10k's."""

import numpy as np
import pytest
from read_only import read_only, torch_warns_of_nothing

from m3ray.config import TrainConfig
from m3ray.training.tails import describe_tails, span_tail_weights

TAILS = TrainConfig(loss="mse_tails", tails_centre="data")


def test_the_span_by_hand():
    """Mean 0.7, distances 0.2, 0 and 0.2: weights 1 + 2 x 0.0016 and 1, over their mean 1 + 0.0064 / 3."""
    mean = 1 + 0.0064 / 3
    assert span_tail_weights(np.array([0.5, 0.7, 0.9]), TAILS) == pytest.approx((1 / mean, 1.0032 / mean))


def test_scores_spread_as_memento10k_s_are_weighed_nearly_alike():
    """Mean 0.80, as the authors' config.py has it, deviation 0.1, lowest 0.41: gain and power do next to nothing."""
    scores = np.append(np.random.default_rng(0).normal(0.8, 0.1, 7000).clip(0.45, 1), 0.41)
    weights = 1 + 2 * np.abs(scores - scores.mean()) ** 4
    low, high = weights.min() / weights.mean(), weights.max() / weights.mean()
    assert 0.999 < low < 1 < high < 1.05
    assert describe_tails(scores, TAILS) == (
        f"mse_tails with gain 2 and power 4 weighs these scores {low:.4f} to {high:.4f}: nearly the plain mse"
    )


def test_nothing_is_said_where_the_tails_weigh_more_or_the_loss_is_another():
    scores = np.linspace(0.2, 1, 50)
    assert describe_tails(scores, TrainConfig(loss="mse_tails", tails_gain=50.0)) is None
    assert describe_tails(scores, TrainConfig(loss="mse")) is None


def test_weights_are_those_of_clips_repeated():
    scores, counts = np.array([0.2, 0.5, 0.9]), np.array([1, 2, 5])
    expected = span_tail_weights(np.repeat(scores, counts), TAILS)
    assert span_tail_weights(scores, TAILS, counts) == pytest.approx(expected)


def test_scores_that_nobody_may_write_to_are_read_without_a_warning():
    scores = read_only(np.array([0.2, 0.5, 0.9]))
    counts = np.array([1.0, 2.0, 5.0])
    with torch_warns_of_nothing():
        found = span_tail_weights(scores, TAILS, read_only(counts))
    assert found == pytest.approx(span_tail_weights(scores.copy(), TAILS, counts))
