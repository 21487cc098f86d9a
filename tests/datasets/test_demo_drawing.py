"""The pictures have what was drawn: raw features of them follow the traits that they are to see, and no other."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from m3ray.datasets.demo_drawing import SECONDS, draw_clip
from m3ray.datasets.demo_traits import draw_traits

CLIPS = 60


@pytest.fixture(scope="module")
def drawn():
    traits, rngs = zip(*(draw_traits(number, 3) for number in range(CLIPS)), strict=True)
    return traits, [draw_clip(clip, rng) for clip, rng in zip(traits, rngs, strict=True)]


def column(traits, name):
    return np.array([getattr(clip, name) for clip in traits])


def test_brightness_and_contrast_are_what_was_drawn(drawn):
    """In plain NumPy: the mean largest channel, and the deviation of 0.299 R + 0.587 G + 0.114 B."""
    traits, clips = drawn
    largest = [clip.frames.max(axis=-1).mean() / 255 for clip in clips]
    luma = [(clip.frames / 255 @ [0.299, 0.587, 0.114]).std(axis=(1, 2)).mean() for clip in clips]
    assert np.abs(largest - (0.40 + 0.24 * column(traits, "brightness"))).max() < 0.03
    assert spearmanr(luma, column(traits, "contrast"))[0] > 0.95
    for name in ("oddness", "grain", "motion"):
        assert abs(spearmanr(luma, column(traits, name))[0]) < 4 / np.sqrt(CLIPS)


def test_the_picture_drifts_as_fast_as_was_drawn(drawn):
    """The shift of the second picture, found by phase correlation in the middle rows of luma, follows motion."""
    traits, clips = drawn
    fastest = [k for k, clip in enumerate(traits) if clip.motion > 0.8]
    slowest = [k for k, clip in enumerate(traits) if clip.motion < 0.2]
    change = [np.abs(np.diff(clip.frames[1:].astype(float), axis=0)).mean() * clip.rate for clip in clips]
    assert np.median([change[k] for k in fastest]) > 2 * np.median([change[k] for k in slowest])


def test_an_unusual_background_is_coloured_and_a_usual_one_grey(drawn):
    traits, clips = drawn
    corner = [clip.frames[0][:8, :8].astype(float).mean(axis=(0, 1)) for clip in clips]
    spread = np.array([pixel.max() - pixel.min() for pixel in corner])
    odd = column(traits, "oddness") > 0
    assert spread[odd].min() > spread[~odd].max(), "no disc reaches the corner"


def test_the_disc_changes_its_colour_after_the_opening(drawn):
    """Red less blue of the whole picture, between the first two pictures, goes the way of the two colours."""
    traits, clips = drawn
    redness = [clip.frames[:2, ..., 0].mean(axis=(1, 2)) - clip.frames[:2, ..., 2].mean(axis=(1, 2)) for clip in clips]
    steps = [after - before for before, after in redness]
    assert spearmanr(steps, column(traits, "colour") - column(traits, "later_colour"))[0] > 0.9


def test_clips_are_short_and_their_sides_even(drawn):
    for clip in drawn[1]:
        assert SECONDS[0] - 0.1 <= len(clip.frames) / clip.rate <= SECONDS[1] + 0.1
        assert clip.frames.shape[1] % 2 == clip.frames.shape[2] % 2 == 0
