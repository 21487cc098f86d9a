"""A shot that is to be written as a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Span:
    """A shot of a video, and what its frames are told by.

    Args:
        first: its first frame, among those that are shown.
        end: the frame behind its last one.
        stamps: presentation time of each of its frames, in ticks of the stream; None: it has none.
        pictures: checksum of each of its pictures.
        start: when it begins, seconds since the first frame of the video.
        stop: when it ends.
        looks: small pictures of a few of its frames, by their number in the shot.
    """

    first: int
    end: int
    stamps: tuple[int | None, ...]
    pictures: tuple[int, ...]
    start: float
    stop: float
    looks: Mapping[int, np.ndarray] = field(default_factory=dict, compare=False)
