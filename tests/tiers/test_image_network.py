"""Networks of images on clips: which frames stand for a clip."""

import numpy as np
import pytest

from m3ray.config import DecodeConfig, ImageNetworkConfig
from m3ray.tiers import WeightSource, Window
from m3ray.tiers.image_network import ImageNetworkTier, choose_frames

DECODE = DecodeConfig(fps=10.0, window_frames=8)


def window(frames, index=0, rate=np.inf):
    return Window(np.zeros((frames, 2, 2, 3), np.uint8), index, rate=rate)


def positions(frames, decode=DECODE, rate=np.inf):
    """Chosen frames of a clip, counted in the clip."""
    chosen = []
    for index, start in enumerate(range(0, frames, decode.window_frames)):
        part = window(min(decode.window_frames, frames - start), index, rate)
        chosen += [start + k for k in choose_frames(part, decode)]
    return chosen


def test_the_middle_of_each_second_stands_for_it():
    assert positions(40) == [5, 15, 25, 35]
    assert positions(36) == [5, 15, 25, 35]
    assert positions(35) == [5, 15, 25]


@pytest.mark.parametrize("length", [6, 8, 13, 100])
def test_windows_change_nothing(length):
    assert positions(100, DecodeConfig(fps=10.0, window_frames=length)) == list(range(5, 100, 10))


@pytest.mark.parametrize(("frames", "chosen"), [(1, [0]), (2, [1]), (5, [2])])
def test_a_clip_that_ends_before_is_its_middle_frame(frames, chosen):
    assert positions(frames) == chosen


def test_the_rate_is_the_clip_s_own_where_it_is_lower():
    assert positions(7, rate=3.0) == [1, 4]  # 3 frames a second: times 0.33 and 1.33
    assert positions(4, rate=0.5) == [0, 1, 2, 3], "each frame lasts 2 s"


def test_each_library_s_tier_says_what_it_sees():
    tier = ImageNetworkTier(ImageNetworkConfig("float32"), WeightSource(seed=0))
    assert tier.whole_clip
    with pytest.raises(TypeError, match="does not say what it sees"):
        tier.describe_input()
