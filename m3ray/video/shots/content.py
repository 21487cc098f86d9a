"""Cuts by the change of colours from a frame to the next one: PySceneDetect's detectors, without flashes."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from m3ray.video.shots.timeline import Timeline

# A cut changes the picture this many times as much as its neighbours do, so that a fast pan is none: the library's own.
_RATIO = 3.0
_SIDE = 2  # frames to each side that a change is compared with
# Of a video that shows few frames a second, slides say, neighbours tell nothing: there a change is a cut by itself.
_SLOW_GAP = 0.25
_SLOW_THRESHOLD = 27.0
# Before and behind a flash the picture is the same but for what moved meanwhile: PySceneDetect's measure of two scenes.
_SAME_THRESHOLD = 27.0
_FLASH_FRAMES = 10  # a photographer's flash lights fewer
_RATE = 25.0  # of the library's counter of frames: cuts are counted in frames, and timed by the video's own clock


class ContentCuts:
    """Find cuts while frames arrive; memory holds a few frames, and those at the latest few cuts.

    Args:
        threshold: mean change of hue, saturation and brightness, 0 to 255, that a cut has at least.
    """

    height, width = 72, 128  # of the frames: noise averages out, and what is left of a picture tells two scenes apart

    def __init__(self, threshold: float = 15.0) -> None:
        from scenedetect.detectors import AdaptiveDetector  # imported where shots are asked for

        self._threshold = threshold
        self._relative = AdaptiveDetector(_RATIO, min_scene_len=0, window_width=_SIDE, min_content_val=threshold)
        self._absolute = _make_content_detector(max(threshold, _SLOW_THRESHOLD))
        # The latest frames, BGR: those that a cut is decided on after, and the one before it.
        self._frames: deque[np.ndarray] = deque(maxlen=_SIDE + 2)
        self._count = self._fed = 0
        self._cuts: list[int] = []
        self._changes: list[int] = []
        # Of the latest cuts: their index, and the frame before each.
        self._recent: deque[tuple[int, np.ndarray]] = deque()

    def add(self, frames: np.ndarray) -> None:
        """Look at the next frames.

        Args:
            frames: RGB, uint8, (T, height, width, 3).
        """
        for rgb in frames:
            frame = np.ascontiguousarray(rgb[..., ::-1])
            if _exceeds(self._absolute, self._count, frame):
                self._changes.append(self._count)
            for _ in range(1 if self._count else 1 + _SIDE):  # the first frame has neighbours too
                self._feed(frame)
            self._count += 1

    def end(self, timeline: Timeline) -> np.ndarray:
        """Say which frames begin a shot.

        Args:
            timeline: when the frames are shown.
        Returns:
            Their indices, (C,), ascending.
        """
        for _ in range(_SIDE if self._count else 0):
            self._feed(self._frames[-1])
        slow = [index for index in self._changes if _mean_gap(timeline.times, index) >= _SLOW_GAP]
        return np.unique(np.array([*self._cuts, *slow], np.int64))

    def _feed(self, frame: np.ndarray) -> None:
        from scenedetect import FrameTimecode

        self._frames.append(frame)
        for cut in self._relative.process_frame(FrameTimecode(self._fed, fps=_RATE), frame):
            self._add_cut(cut.frame_num - _SIDE)
        self._fed += 1

    def _add_cut(self, index: int) -> None:
        """Keep a cut, unless the picture is what it was a few frames ago: all since then was a flash."""
        before, frame = self._frames[0], self._frames[1]
        while self._recent and index - self._recent[0][0] > _FLASH_FRAMES:
            self._recent.popleft()
        for number, (_, earlier) in enumerate(self._recent):
            if not self._differ(earlier, frame):
                for _ in range(len(self._recent) - number):
                    self._recent.pop()
                    self._cuts.pop()
                return
        self._cuts.append(index)
        self._recent.append((index, before))

    def _differ(self, first: np.ndarray, second: np.ndarray) -> bool:
        detector = _make_content_detector(max(self._threshold, _SAME_THRESHOLD))
        _exceeds(detector, 0, first)
        return _exceeds(detector, 1, second)


def _make_content_detector(threshold: float) -> Any:
    from scenedetect.detectors import ContentDetector

    return ContentDetector(threshold=threshold, min_scene_len=0)


def _exceeds(detector: Any, index: int, frame: np.ndarray) -> bool:
    """Whether a frame differs by the detector's threshold from the one before it."""
    from scenedetect import FrameTimecode

    return bool(detector.process_frame(FrameTimecode(index, fps=_RATE), frame))


def _mean_gap(times: np.ndarray, index: int) -> float:
    """Mean time from a frame to the next one around a frame, seconds."""
    around = times[max(index - _SIDE, 0) : index + _SIDE + 1]
    return float(np.ptp(around) / max(len(around) - 1, 1))
