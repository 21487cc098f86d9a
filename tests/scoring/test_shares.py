"""Shapley values over tiers, against their definition."""

import itertools
import math

import numpy as np
import pytest

from m3ray.features.matrix import Block
from m3ray.scoring.shares import share_tiers

BLOCKS = (Block("a", ("x", "y"), True), Block("b", ("z",), True), Block("c", ("w",), True))


def predict(rows):
    """Interactions between tiers, and a bend."""
    x, y, z, w = rows.astype(np.float64).T
    return np.tanh(x * z + y) + w * np.maximum(z, 0)


@pytest.fixture
def made():
    rng = np.random.default_rng(0)
    return rng.standard_normal((30, 4)).astype(np.float32), rng.standard_normal(4).astype(np.float32)


def test_shares_sum_to_the_score_less_the_baselines(made):
    scaled, baseline = made
    total = sum(share_tiers(predict, scaled, baseline, BLOCKS).values())
    np.testing.assert_allclose(total, predict(scaled) - predict(baseline[None]), atol=1e-12)


def test_a_share_is_the_mean_gain_over_all_orders(made):
    """The definition: what a tier adds when it comes, over the six orders in which three tiers can come."""
    scaled, baseline = made
    tiers = {"a": [0, 1], "b": [2], "c": [3]}
    expected = dict.fromkeys(tiers, np.zeros(30))
    for order in itertools.permutations(tiers):
        rows, before = np.tile(baseline, (30, 1)), predict(np.tile(baseline, (30, 1)))
        for tier in order:
            rows[:, tiers[tier]] = scaled[:, tiers[tier]]
            expected[tier] = expected[tier] + (predict(rows) - before) / math.factorial(3)
            before = predict(rows)
    for tier, share in share_tiers(predict, scaled, baseline, BLOCKS).items():
        np.testing.assert_allclose(share, expected[tier], atol=1e-12)


def test_a_tier_that_does_not_matter_has_no_share(made):
    scaled, baseline = made
    assert not share_tiers(lambda rows: rows[:, 0].astype(float), scaled, baseline, BLOCKS)["c"].any()
