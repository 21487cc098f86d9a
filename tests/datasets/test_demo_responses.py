"""Viewers hit, miss and forget by the formulas, and how good a model can be at most follows from them."""

import numpy as np
from scipy.stats import spearmanr

from m3ray.datasets.demo_responses import VIEWERS, draw_responses
from m3ray.datasets.demo_traits import draw_traits

CLIPS = 1500
TRAITS = [draw_traits(number, 0)[0] for number in range(CLIPS)]
VIEWED = [draw_responses(clip, number, 0) for number, clip in enumerate(TRAITS)]


def test_scores_scatter_about_the_probability_as_a_binomial_does():
    """Their z values have mean 0 and variance 1, within four of their standard deviations over 1,500 clips."""
    chance, counts = np.array([clip.probability for clip in TRAITS]), np.array([seen.responses for seen in VIEWED])
    unsure = chance < 0.99
    z = ((np.array([seen.score for seen in VIEWED]) - chance) / np.sqrt(chance * (1 - chance) / counts + 1e-12))[unsure]
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / len(z))
    assert (counts.min(), counts.max()) == VIEWERS, "each end some twelve times in 1,500"


def test_the_ceiling_is_high_and_below_one():
    """Reliability = var(p) / (var(p) + mean p (1 - p) / n); the ceiling of a linear relation is its square root."""
    chance, counts = np.array([clip.probability for clip in TRAITS]), np.array([seen.responses for seen in VIEWED])
    reliability = chance.var() / (chance.var() + (chance * (1 - chance) / counts).mean())
    rho = spearmanr(chance, [seen.score for seen in VIEWED])[0]
    assert 0.9 < rho < 0.98
    assert abs(rho - np.sqrt(reliability)) < 0.02


def test_what_is_usual_looks_familiar():
    odd = np.array([clip.oddness > 0 for clip in TRAITS])
    rates = np.array([seen.false_alarms / seen.false_alarm_responses for seen in VIEWED])
    expected = 0.05 + 0.20 * (1 - np.array([clip.oddness for clip in TRAITS]))
    for part in (odd, ~odd):
        assert abs((rates - expected)[part].mean()) < 0.004


def test_still_clips_are_forgotten_faster():
    """By -0.0004 - 0.0012 (1 - motion), noise 0.0001; the evenly drawn part has a deviation of 0.00035."""
    alpha, motion = np.array([seen.alpha for seen in VIEWED]), np.array([clip.motion for clip in TRAITS])
    assert np.abs(alpha + 0.0004 + 0.0012 * (1 - motion)).max() < 5 * 0.0001
    assert spearmanr(alpha, motion)[0] > 0.9
