"""Sliding windows over a clip: the moments whose scores make a curve over time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from m3ray.config import MomentConfig
from m3ray.errors import ConfigError
from m3ray.video.sampling import Facts


@dataclass(frozen=True)
class Moment:
    """A window of a clip, to be computed as if it were a clip.

    Args:
        start: its first frame, counted in sampled frames.
        seconds: its middle, from the clip's start.
        frames: uint8 (T, H, W, 3).
        facts: the clip's, with the moment's share of frames and bytes; `native_fps` is that of its frames.
    """

    start: int
    seconds: float
    frames: np.ndarray
    facts: Facts


def rate_of(native_fps: float, fps: float, *, each_once: bool) -> float:
    """Sampled frames a second.

    Args:
        native_fps: mean frames a second of the clip.
        fps: that were asked for.
        each_once: whether every frame was sampled once, as of a slow clip; else the one shown at each k / fps.
    """
    return native_fps if each_once and 0 < native_fps < fps else fps


def starts(sampled: int, rate: float, config: MomentConfig) -> range | list[int]:
    """First frames of a clip's moments; the last one ends where the clip does.

    Raises:
        ConfigError: a window or a step that is not above 0.
    """
    if config.window <= 0 or config.step <= 0:
        raise ConfigError(f"windows of {config.window:g} s every {config.step:g} s: expected both above 0")
    width, step = width_of(rate, config), max(1, round(config.step * rate))
    last = max(0, sampled - width)
    regular = range(0, last + 1, step)
    return regular if regular[-1] == last else [*regular, last]


def width_of(rate: float, config: MomentConfig) -> int:
    """Sampled frames of a moment."""
    return max(1, round(config.window * rate))


def moments(windows: Iterable[tuple[Facts, np.ndarray]], fps: float, config: MomentConfig) -> Iterator[Moment]:
    """The moments of a clip as its windows of frames arrive; holds the frames of one moment and one window.

    Args:
        windows: consecutive, as the decoder gives them.
        fps: that were asked for.
        config: length and step.
    """
    held, offset = np.empty(0), 0
    due: Iterator[int] = iter(())
    start: int | None = None
    for index, (facts, frames) in enumerate(windows):
        rate = rate_of(facts.native_fps, fps, each_once=facts.sampled == facts.frames)
        width = width_of(rate, config)
        if index == 0:
            due = iter(starts(facts.sampled, rate, config))
            start, held = next(due), frames
        else:
            held = np.concatenate([held, frames])
        end = offset + len(held)
        while start is not None and (start + width <= end or end >= facts.sampled):
            piece = held[start - offset : start - offset + width]
            share = len(piece) / facts.sampled
            own = replace(facts, native_fps=rate, sampled=len(piece), video_bytes=round(facts.video_bytes * share))
            yield Moment(start, (start + len(piece) / 2) / rate, piece, own)
            start = next(due, None)
        if start is not None:
            # A step longer than a window may lead beyond what has arrived.
            passed = min(start - offset, len(held))
            held, offset = held[passed:], offset + passed
