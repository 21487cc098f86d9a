"""The demo is the same from the same seed, and follows its formulas."""

from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from m3ray.datasets.demo import SHARES, VIEWERS, draw_responses, draw_traits, make_demo
from m3ray.storage.root import Root

CLIPS = 400


def draw_all():
    traits = [draw_traits(k, 0)[0] for k in range(CLIPS)]
    return traits, [draw_responses(clip, k, 0) for k, clip in enumerate(traits)]


def test_the_demo_is_the_same_from_the_same_seed(tmp_path):
    one, two = (make_demo(Root(str(tmp_path / name)), 3, seed=5) for name in "ab")
    for a, b in zip(one, two, strict=True):
        assert (a.clip_id, a.score, a.labels, a.extra) == (b.clip_id, b.score, b.labels, b.extra)
        assert Path(a.uri).read_bytes() == Path(b.uri).read_bytes()
    assert make_demo(Root(str(tmp_path / "a")), 2, seed=5) == one[:2], "a smaller demo is the start of a larger one"
    assert make_demo(Root(str(tmp_path / "a")), 3, seed=6)[0].score != one[0].score


def test_the_demo_s_viewers_remember_by_the_published_function():
    drawn, _ = draw_all()
    for clip in drawn:
        rarity = 1 - SHARES[clip.action] / 0.36
        expected = 0.45 + 0.22 * rarity + 0.16 * clip.motion + 0.12 * clip.brightness
        assert abs(clip.probability - expected) < 6 * 0.02
    common = sum(clip.action == "drifting" for clip in drawn) / CLIPS
    assert abs(common - SHARES["drifting"]) < 0.08


def test_the_score_is_the_share_of_viewers_who_recognise_the_clip(tmp_path):
    for clip in make_demo(Root(str(tmp_path)), 30, write=False):
        assert clip.score == clip.extra["hits"] / clip.extra["responses"]
        assert 60 <= clip.extra["responses"] <= 120
        assert 0 <= clip.extra["false_alarms"] <= clip.extra["false_alarm_responses"]


def test_scores_scatter_about_the_probability_as_a_binomial_does():
    """Its z values have mean 0 and variance 1, within four of their standard deviations over 400 clips."""
    traits, viewers = draw_all()
    chance, counts = np.array([clip.probability for clip in traits]), np.array([clip.responses for clip in viewers])
    z = (np.array([clip.score for clip in viewers]) - chance) / np.sqrt(chance * (1 - chance) / counts)
    assert abs(z.mean()) < 4 / np.sqrt(CLIPS)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / CLIPS)
    assert (counts.min(), counts.max()) == VIEWERS, "60 to 120, each end some seven times in 400"


def test_what_is_common_looks_familiar():
    traits, viewers = draw_all()
    rates = {
        action: sum(v.false_alarms for v in group) / sum(v.false_alarm_responses for v in group)
        for action in SHARES
        if (group := [v for clip, v in zip(traits, viewers, strict=True) if clip.action == action])
    }
    for action, rate in rates.items():
        assert abs(rate - (0.05 + 0.20 * SHARES[action] / 0.36)) < 0.03


def test_still_clips_are_forgotten_faster():
    """By -0.0004 - 0.0012 (1 - motion), noise 0.0001; the evenly drawn part has a deviation of 0.00035."""
    traits, viewers = draw_all()
    alpha, motion = np.array([clip.alpha for clip in viewers]), np.array([clip.motion for clip in traits])
    assert np.abs(alpha + 0.0004 + 0.0012 * (1 - motion)).max() < 5 * 0.0001
    assert spearmanr(alpha, motion)[0] > 0.9
