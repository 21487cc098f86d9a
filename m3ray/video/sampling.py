"""Which frames of a video are taken, and what shape they get: the same whichever decoder reads them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import cv2
import numpy as np

# Counted up when other frames are taken of a video, or they look otherwise: features of before are then made anew.
DECODING = 2

# Matroska rounds timestamps to a millisecond: a frame due at 66.67 ms says 67.
ROUNDING = 1e-3
# GIF counts in hundredths: at 15 frames a second some last 60 ms and others 70.
_GIF_ROUNDING = 1e-2

Extent = Literal["all", "one_window", "first_window", "first_frame"]
"""What of a clip is wanted: all its windows; the only one, or of a longer clip none; the first one; its first frame."""


@dataclass(frozen=True)
class Facts:
    """What decoding learned of a clip.

    Args:
        width: of a frame as shown, rotation applied, pixels.
        height: likewise.
        native_fps: mean frames a second.
        duration: seconds.
        frames: that a player shows.
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

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def rounding_of(container: str) -> float:
    """Seconds by which timestamps of a container may be off."""
    return _GIF_ROUNDING if container == "gif" else ROUNDING


def sampled_frames(times: np.ndarray, duration: float, fps: float, rounding: float = ROUNDING) -> np.ndarray:
    """Positions, in order of presentation, of the frames shown at k / fps seconds.

    Args:
        times: presentation times in seconds, ascending, the first one the start.
        duration: seconds from the first frame to the end of the last one.
        fps: frames a second to take; where the video never shows more than these, every frame is taken once.
        rounding: seconds by which times of a video at a steady `fps` may be off.
    Returns:
        int64, at least one position.
    """
    if not is_faster(times, fps, rounding):
        return np.arange(len(times))
    count = max(1, math.ceil(duration * fps - ROUNDING * fps))
    due = times[0] + np.arange(count) / fps
    return np.searchsorted(shown_from(times), due, side="right") - 1


def is_faster(times: np.ndarray, fps: float, rounding: float) -> bool:
    """Whether a video anywhere shows more than `fps` frames a second, beyond what rounded times explain."""
    # Of a slower video frame j comes at least (j - i) / fps after frame i, for every i before it.
    behind = times - np.arange(len(times)) / fps
    return bool((np.maximum.accumulate(behind) - behind > rounding).any())


def shown_from(times: np.ndarray) -> np.ndarray:
    """From when on each frame is the one to take: its time less what rounding may have added, at most a quarter gap."""
    gaps = np.diff(times, prepend=times[0])
    return times - np.minimum(ROUNDING, np.maximum(gaps, 0) / 4)


class FrameChooser:
    """Tells frame by frame, as a video is decoded, which pictures `sampled_frames` may ask for at its end.

    Args:
        fps: frames a second to take.
        rounding: seconds by which times of a video at a steady `fps` may be off.
    """

    def __init__(self, fps: float, rounding: float) -> None:
        self.fps, self.rounding = fps, rounding
        self.faster = False
        self._index = 0
        self._previous = self._ahead = -math.inf
        self._from = 0.0

    def add(self, time: float) -> bool:
        """Takes the next frame's time; whether the frame before it may be asked for.

        Until a video is seen to be faster than `fps`, any frame may: a slow one's are all taken.
        """
        first = self._index == 0
        start = time if first else time - min(ROUNDING, max(time - self._previous, 0) / 4)
        behind = time - self._index / self.fps
        self._ahead = max(self._ahead, behind)
        self.faster = self.faster or self._ahead - behind > self.rounding
        keep = not first and (not self.faster or self._falls_due(self._from, start))
        self._index, self._previous, self._from = self._index + 1, time, start
        return keep

    def _falls_due(self, start: float, end: float) -> bool:
        """Whether a multiple of 1 / fps lies in [start, end)."""
        return math.ceil(start * self.fps - 1e-9) < end * self.fps + 1e-9


def resized(frame: np.ndarray, size: int) -> np.ndarray:
    """An RGB frame at size x size, the aspect ratio not kept; the frame itself where it has that size.

    Area averaging where it shrinks (no aliasing to inflate HOG and blurriness), bilinear where it grows.
    """
    height, width = frame.shape[:2]
    if (height, width) == (size, size):
        return frame
    return cv2.resize(frame, (size, size), interpolation=_interpolation(height, width, size))


def resize_into(frame: np.ndarray, out: np.ndarray) -> None:
    """As `resized`, written to `out`, uint8 (size, size, 3)."""
    (height, width), size = frame.shape[:2], len(out)
    if (height, width) == (size, size):
        out[:] = frame
    else:
        cv2.resize(frame, (size, size), dst=out, interpolation=_interpolation(height, width, size))


def _interpolation(height: int, width: int, size: int) -> int:
    return cv2.INTER_AREA if height >= size and width >= size else cv2.INTER_LINEAR


class HeldPictures:
    """Pictures of a video that may be sampled, side by side, so that a window of them needs no copying.

    Args:
        window: pictures of a window.
        size: their height and width.
    """

    def __init__(self, window: int, size: int) -> None:
        self.window, self.size = window, size
        self._blocks: list[np.ndarray] = []
        self._slots: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, index: int, picture: np.ndarray) -> None:
        """Holds the picture of frame `index`, (H, W, 3), resized."""
        block, slot = divmod(len(self._slots), self.window)
        if slot == 0:
            self._blocks.append(np.empty((self.window, self.size, self.size, 3), np.uint8))
        resize_into(picture, self._blocks[block][slot])
        self._slots[index] = len(self._slots)

    def holds(self, positions: np.ndarray) -> bool:
        """Whether all of these frames' pictures are there."""
        return all(k in self._slots for k in positions.tolist())

    def take(self, positions: np.ndarray) -> np.ndarray:
        """The pictures of frames, (T, size, size, 3): a view where they lie in a row."""
        slots = [self._slots[k] for k in positions.tolist()]
        block, first = divmod(slots[0], self.window)
        if slots == list(range(slots[0], slots[0] + len(slots))) and first + len(slots) <= self.window:
            return self._blocks[block][first : first + len(slots)]
        return np.stack([self._blocks[slot // self.window][slot % self.window] for slot in slots])
