"""Sampling in time and resizing of frames: the same whichever decoder reads them."""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np

# Version of sampling and decoding, raised when other frames are taken or they look different: features of an earlier
# version are then computed anew.
DECODING = 2

# Matroska rounds timestamps to a millisecond: a frame due at 66.67 ms says 67.
ROUNDING = 1e-3
# GIF counts in hundredths: at 15 frames a second some last 60 ms and others 70.
_GIF_ROUNDING = 1e-2

Extent = Literal["all", "in_one_pass", "first_window", "first_frame"]
"""What of a clip is wanted: all its windows; the same, while they are decoded, as long as the frames are those that the
packets foretell; the first one; its first frame."""

UNFORESEEN_TIMES = "unforeseen_times"
"""Reason of the error that ends windows in one pass where frames are not shown as the packets foretell."""


def timestamp_rounding(container: str) -> float:
    """Say how far timestamps of a container may be off.

    Args:
        container: FFmpeg's name of the container.
    Returns:
        Seconds.
    """
    return _GIF_ROUNDING if container == "gif" else ROUNDING


def sample_frames(times: np.ndarray, duration: float, fps: float, rounding: float = ROUNDING) -> np.ndarray:
    """Find the frames that are shown at k / fps seconds.

    Args:
        times: presentation times, seconds, (N,), ascending; the first one is the start.
        duration: time from the first frame to the end of the last one, seconds.
        fps: frames a second to take; where the video never shows more than these, every frame is taken once.
        rounding: how far times of a video at a steady `fps` may be off, seconds.
    Returns:
        Indices of the frames in order of presentation, int64, at least one.
    """
    if not is_faster(times, fps, rounding):
        return np.arange(len(times))
    count = max(1, math.ceil(duration * fps - ROUNDING * fps))
    due = times[0] + np.arange(count) / fps
    return np.searchsorted(selection_times(times), due, side="right") - 1


def is_faster(times: np.ndarray, fps: float, rounding: float) -> bool:
    """Tell whether a video anywhere shows more than `fps` frames a second, beyond what rounded times explain.

    Args:
        times: presentation times, seconds, (N,), ascending.
        fps: frames a second to compare with.
        rounding: how far times of a video at a steady `fps` may be off, seconds.
    Returns:
        Whether some part of it is faster.
    """
    # Of a slower video frame j comes at least (j - i) / fps after frame i, for every i before it.
    behind = times - np.arange(len(times)) / fps
    return bool((np.maximum.accumulate(behind) - behind > rounding).any())


def selection_times(times: np.ndarray) -> np.ndarray:
    """Compute from when on each frame is the one to take: its time less what rounding may have added to it.

    Args:
        times: presentation times, seconds, (N,), ascending.
    Returns:
        Seconds, (N,); at most a quarter of the gap before a frame is taken off.
    """
    gaps = np.diff(times, prepend=times[0])
    return times - np.minimum(ROUNDING, np.maximum(gaps, 0) / 4)


class FrameChooser:
    """Choice of frames while a video is decoded: those that `sample_frames` may ask for at its end.

    Args:
        fps: frames a second to take.
        rounding: how far times of a video at a steady `fps` may be off, seconds.
    """

    def __init__(self, fps: float, rounding: float) -> None:
        self.fps, self.rounding = fps, rounding
        self.faster = False
        self._index = 0
        self._previous = self._ahead = -math.inf
        self._from = 0.0

    def add(self, time: float) -> bool:
        """Add the next frame, and decide on the one before it.

        Until a video is seen to be faster than `fps`, every frame is kept: of a slow one all are taken.

        Args:
            time: presentation time of the frame, seconds.
        Returns:
            Whether the frame before it may be asked for.
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


def resize(frame: np.ndarray, size: int) -> np.ndarray:
    """Resize a frame to a square, without keeping the aspect ratio.

    Area averaging where it shrinks (no aliasing to inflate HOG and blurriness), bilinear where it grows.

    Args:
        frame: RGB, uint8, (H, W, 3).
        size: new height and width, pixels.
    Returns:
        uint8, (size, size, 3); the frame itself where it has that size.
    """
    height, width = frame.shape[:2]
    if (height, width) == (size, size):
        return frame
    return cv2.resize(frame, (size, size), interpolation=_interpolation(height, width, size))


def resize_to(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a frame to any shape, as `resize` does to a square.

    Args:
        frame: RGB, uint8, (H, W, 3).
        height: new height, pixels.
        width: new width, pixels.
    Returns:
        uint8, (height, width, 3), in memory of its own.
    """
    if frame.shape[:2] == (height, width):
        return frame.copy()
    shrinks = frame.shape[0] >= height and frame.shape[1] >= width
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def resize_into(frame: np.ndarray, out: np.ndarray) -> None:
    """Resize a frame as `resize` does, into memory that is there already.

    Args:
        frame: RGB, uint8, (H, W, 3).
        out: array to write to, uint8, (size, size, 3).
    """
    (height, width), size = frame.shape[:2], len(out)
    if (height, width) == (size, size):
        out[:] = frame
    else:
        cv2.resize(frame, (size, size), dst=out, interpolation=_interpolation(height, width, size))


def _interpolation(height: int, width: int, size: int) -> int:
    return cv2.INTER_AREA if height >= size and width >= size else cv2.INTER_LINEAR


class PictureBuffer:
    """Buffer of pictures that may be sampled, laid out in windows, so that a window needs no copying.

    Args:
        window: number of pictures in a window.
        size: height and width of a picture, pixels.
    """

    def __init__(self, window: int, size: int) -> None:
        self.window, self.size = window, size
        self._blocks: list[np.ndarray] = []
        self._slots: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, index: int, picture: np.ndarray) -> None:
        """Add a picture, resized.

        Args:
            index: index of its frame.
            picture: RGB, uint8, (H, W, 3).
        """
        block, slot = divmod(len(self._slots), self.window)
        if slot == 0:
            self._blocks.append(np.empty((self.window, self.size, self.size, 3), np.uint8))
        resize_into(picture, self._blocks[block][slot])
        self._slots[index] = len(self._slots)

    def has_all(self, indices: np.ndarray) -> bool:
        """Tell whether the pictures of all these frames are in the buffer.

        Args:
            indices: indices of the frames, (T,).
        Returns:
            False where one is missing.
        """
        return all(k in self._slots for k in indices.tolist())

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Take the pictures of frames.

        Args:
            indices: indices of the frames, (T,); all of them are in the buffer.
        Returns:
            uint8, (T, size, size, 3); a view where they lie in a row.
        """
        slots = [self._slots[k] for k in indices.tolist()]
        block, first = divmod(slots[0], self.window)
        if slots == list(range(slots[0], slots[0] + len(slots))) and first + len(slots) <= self.window:
            return self._blocks[block][first : first + len(slots)]
        return np.stack([self._blocks[slot // self.window][slot % self.window] for slot in slots])
