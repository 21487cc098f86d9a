"""Sliding windows against slices of the whole clip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3ray.config import SlidingWindowConfig
from m3ray.errors import ConfigError
from m3ray.video.metadata import VideoMetadata
from m3ray.video.sliding_windows import iter_sliding_windows, window_starts


def clip_in_windows(sampled: int, native: float, window: int):
    frames = np.arange(sampled, dtype=np.uint8).reshape(-1, 1, 1, 1)
    metadata = VideoMetadata(1, 1, native, sampled / native, sampled, sampled, 1000 * sampled, "mp4")
    return frames, [(metadata, frames[k : k + window]) for k in range(0, sampled, window)]


@given(st.integers(1, 200), st.integers(1, 64), st.floats(0.2, 5), st.floats(0.1, 5))
def test_moments_are_slices_however_the_frames_arrive(sampled, window, length, step):
    config = SlidingWindowConfig(length, step)
    frames, windows = clip_in_windows(sampled, 10.0, window)
    found = list(iter_sliding_windows(windows, 15.0, config))
    assert [moment.start for moment in found] == list(window_starts(sampled, 10.0, config))
    width = max(1, round(length * 10))
    for moment in found:
        np.testing.assert_array_equal(moment.frames, frames[moment.start : moment.start + width])
        assert moment.metadata.sampled == len(moment.frames)
        assert moment.metadata.video_bytes == 1000 * len(moment.frames)
        assert moment.seconds == pytest.approx((moment.start + len(moment.frames) / 2) / 10)
    assert found[-1].start + len(found[-1].frames) == sampled, "the last one ends where the clip does"


def test_the_rate_is_never_above_the_asked_one():
    _, windows = clip_in_windows(60, 30.0, 128)
    assert [m.start for m in iter_sliding_windows(windows, 15.0, SlidingWindowConfig(2, 1))] == [0, 15, 30]


def test_a_clip_shorter_than_the_window_is_one_moment():
    assert list(window_starts(5, 10.0, SlidingWindowConfig(3, 1))) == [0]


@pytest.mark.parametrize("config", [SlidingWindowConfig(0, 1), SlidingWindowConfig(1, -1)])
def test_windows_that_cannot_be(config):
    with pytest.raises(ConfigError, match="expected both above 0"):
        window_starts(10, 10.0, config)
