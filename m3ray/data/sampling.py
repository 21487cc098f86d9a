"""Which frames of a video are taken, and what shape they get: the same whichever decoder reads them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import numpy as np

# Matroska rounds timestamps to a millisecond: a frame due at 66.67 ms says 67.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Facts:
    """What decoding learned of a clip.

    Args:
        width: of a frame as shown, rotation applied, pixels.
        height: likewise.
        native_fps: mean frames a second.
        duration: seconds.
        frames: in the video stream.
        sampled: frames taken.
        video_bytes: size of the video stream as stored, audio not counted.
        container: FFmpeg's name of it.
        decoder: `decord` or `pyav`.
    """

    width: int
    height: int
    native_fps: float
    duration: float
    frames: int
    sampled: int
    video_bytes: int
    container: str
    decoder: str = ""

    def decoded_by(self, decoder: str) -> Facts:
        return replace(self, decoder=decoder)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def sampled_frames(times: np.ndarray, duration: float, fps: float) -> np.ndarray:
    """Positions, in order of presentation, of the frames shown at k / fps seconds.

    Args:
        times: presentation times in seconds, ascending, the first one the start.
        duration: seconds from the first frame to the end of the last one.
        fps: frames a second to take; at or above the native rate every frame is taken once.
    Returns:
        int64, at least one position.
    """
    native = len(times) / duration if duration > 0 else math.inf
    if fps >= native * (1 - 1e-6):
        return np.arange(len(times))
    count = max(1, math.ceil(duration * fps - _ROUNDING * fps))
    due = times[0] + np.arange(count) / fps
    shown = np.searchsorted(times, due + min(_ROUNDING, 0.25 / native), side="right") - 1
    return shown.clip(0, len(times) - 1)


def resized(frame: np.ndarray, size: int) -> np.ndarray:
    """An RGB frame at size x size, the aspect ratio not kept.

    Area averaging where it shrinks (no aliasing to inflate HOG and blurriness), bilinear where it grows.
    """
    height, width = frame.shape[:2]
    if (height, width) == (size, size):
        return frame
    shrinks = height >= size and width >= size
    return cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
