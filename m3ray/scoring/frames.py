"""Frames that a user has in memory, as the decoder would give them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from m3ray.config import DecodeConfig
from m3ray.video.metadata import VideoMetadata
from m3ray.video.sampling import resize

DecodedWindows: TypeAlias = Iterator[tuple[VideoMetadata, np.ndarray]]


def window_frames(frames: np.ndarray, decode: DecodeConfig) -> DecodedWindows:
    """Resize frames and cut them into windows.

    No file tells how large they are: their `video_bytes` are 0.

    Args:
        frames: RGB, uint8, (T, H, W, 3), T >= 1, taken as sampled at the rate of `decode`.
        decode: Sampling rate, size of a frame, and frames of a window.
    Yields:
        Metadata and frames of each window, uint8, (t, size, size, 3).
    """
    count, height, width, _ = frames.shape
    metadata = VideoMetadata(width, height, decode.fps, count / decode.fps, count, count, 0, "frames", "array")
    for start in range(0, count, decode.window_frames):
        window = frames[start : start + decode.window_frames]
        yield metadata, np.stack([resize(np.ascontiguousarray(frame), decode.size) for frame in window])
