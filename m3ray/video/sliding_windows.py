"""Sliding windows over a clip, whose scores make a curve over time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from m3ray.config import SlidingWindowConfig
from m3ray.errors import ConfigError
from m3ray.video.metadata import VideoMetadata


@dataclass(frozen=True)
class SlidingWindow:
    """A window of a clip, whose features are computed as if it were a clip.

    Args:
        start: index of its first frame among the sampled ones.
        seconds: time of its middle, seconds from the start of the clip.
        frames: RGB, uint8, (T, H, W, 3).
        metadata: metadata of the clip, with the window's share of frames and bytes; `native_fps` is that of `frames`.
    """

    start: int
    seconds: float
    frames: np.ndarray
    metadata: VideoMetadata


def sampling_rate(native_fps: float, fps: float, *, each_once: bool) -> float:
    """Compute how many frames a second were sampled.

    Args:
        native_fps: mean frames a second of the clip.
        fps: sampling rate that was asked for, frames a second.
        each_once: whether every frame was sampled once, as of a slow clip; else the one shown at each k / fps.
    Returns:
        Frames a second.
    """
    return native_fps if each_once and 0 < native_fps < fps else fps


def window_starts(sampled: int, rate: float, config: SlidingWindowConfig) -> range | list[int]:
    """Lay windows over a clip; the last one ends where the clip does.

    Args:
        sampled: number of sampled frames of the clip.
        rate: sampled frames a second.
        config: length of a window, and step from one to the next.
    Returns:
        Index of the first frame of each window.
    Raises:
        ConfigError: If the length or the step is not above 0.
    """
    if config.window <= 0 or config.step <= 0:
        raise ConfigError(f"windows of {config.window:g} s every {config.step:g} s: expected both above 0")
    width, step = window_frames(rate, config), max(1, round(config.step * rate))
    last = max(0, sampled - width)
    regular = range(0, last + 1, step)
    return regular if regular[-1] == last else [*regular, last]


def window_frames(rate: float, config: SlidingWindowConfig) -> int:
    """Compute how many sampled frames a window has.

    Args:
        rate: sampled frames a second.
        config: length of a window, and step from one to the next.
    Returns:
        Number of frames, at least one.
    """
    return max(1, round(config.window * rate))


def iter_sliding_windows(
    windows: Iterable[tuple[VideoMetadata, np.ndarray]], fps: float, config: SlidingWindowConfig
) -> Iterator[SlidingWindow]:
    """Cut a clip into sliding windows while it is decoded.

    Memory holds the frames of one sliding window and of one decoded window, however long the clip is.

    Args:
        windows: consecutive windows of metadata and frames, as the decoder gives them.
        fps: sampling rate that was asked for, frames a second.
        config: length of a window, and step from one to the next.
    Yields:
        Each sliding window, in order.
    """
    held, offset = np.empty(0), 0
    due: Iterator[int] = iter(())
    start: int | None = None
    for index, (metadata, frames) in enumerate(windows):
        rate = sampling_rate(metadata.native_fps, fps, each_once=metadata.sampled == metadata.frames)
        width = window_frames(rate, config)
        if index == 0:
            due = iter(window_starts(metadata.sampled, rate, config))
            start, held = next(due), frames
        else:
            held = np.concatenate([held, frames])
        end = offset + len(held)
        while start is not None and (start + width <= end or end >= metadata.sampled):
            piece = held[start - offset : start - offset + width]
            share = len(piece) / metadata.sampled
            own = replace(
                metadata, native_fps=rate, sampled=len(piece), video_bytes=round(metadata.video_bytes * share)
            )
            yield SlidingWindow(start, (start + len(piece) / 2) / rate, piece, own)
            start = next(due, None)
        if start is not None:
            # A step longer than a window may lead beyond what has arrived.
            passed = min(start - offset, len(held))
            held, offset = held[passed:], offset + passed
