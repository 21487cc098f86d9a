"""Frames in memory, as the decoder would give them."""

import numpy as np

from m3ray.config import DecodeConfig
from m3ray.scoring.frames import window_frames


def test_frames_are_resized_and_cut_into_windows():
    frames = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1) * np.ones((1, 6, 9, 3), np.uint8)
    windows = list(window_frames(frames, DecodeConfig(fps=10, size=4, window_frames=2)))
    assert [window.shape for _, window in windows] == [(2, 4, 4, 3), (2, 4, 4, 3), (1, 4, 4, 3)]
    assert [window[:, 0, 0, 0].tolist() for _, window in windows] == [[0, 1], [2, 3], [4]]
    metadata = windows[0][0]
    assert (metadata.width, metadata.height, metadata.native_fps, metadata.duration) == (9, 6, 10, 0.5)
    assert (metadata.frames, metadata.sampled, metadata.video_bytes) == (5, 5, 0)


def test_a_frame_of_the_right_size_stays_as_it_is():
    frames = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3), np.uint8)
    ((_, window),) = window_frames(frames, DecodeConfig(size=4))
    np.testing.assert_array_equal(window, frames)
