"""Presentation times of frames: from the timestamps of a file to seconds since its first frame."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

# A step back by less recovers: the frames after it keep their times. By more, it is where another recording begins.
GLITCH_SECONDS = 0.5
# What ffmpeg takes for the seam of two recordings in containers whose timestamps may jump (its dts_delta_threshold).
_SEAM_SECONDS = 10.0
_SEAMED = ("mpegts", "mpeg")
_HEADER_ROUNDING = 1.5e-3


@dataclass(frozen=True)
class Stamp:
    """Timestamps of a frame or packet, in ticks of the stream's time base.

    Args:
        pts: presentation time; None where the file has none.
        dts: decoding time; None where the file has none.
        duration: how long it lasts; 0 where the file does not say.
    """

    pts: int | None
    dts: int | None
    duration: int


class Clock:
    """Turns timestamps of frames, in the order in which they are shown, into seconds.

    A frame lasts up to the next one's timestamp. Where timestamps jump back (recordings joined end to end), or, in
    transport and program streams, far ahead, the frames after the jump go on where those before it end.

    Args:
        tick: time base of the stream, seconds.
        period: how long a frame lasts where nothing else tells, seconds.
        container: FFmpeg's name of the container.
    """

    def __init__(self, tick: Fraction, period: float, container: str) -> None:
        self.tick = float(tick)
        self.period = period
        self.jumps_ahead = container in _SEAMED
        # AVI has no presentation times: those that FFmpeg makes up are wrong for H.264 with B-frames.
        self.by_dts = container == "avi"
        self.times: list[float] = []
        self._last_stamp = 0.0
        self._offset = 0.0
        self._last_own = 0.0
        self._choice = _BestEffort()

    def show(self, stamp: Stamp) -> float:
        """Add the next frame.

        Args:
            stamp: timestamps of the frame.
        Returns:
            When it is shown, seconds since the first one.
        """
        ticks = stamp.dts if self.by_dts else self._choice.choose(stamp)
        own = stamp.duration * self.tick
        if not self.times:
            self._last_stamp, time = 0.0 if ticks is None else ticks * self.tick, 0.0
            self._offset = -self._last_stamp
        else:
            at = self._last_stamp + self._last_duration() if ticks is None else ticks * self.tick
            gap, time = at - self._last_stamp, max(self.times[-1], at + self._offset)
            if gap < -GLITCH_SECONDS or (self.jumps_ahead and gap > _SEAM_SECONDS):
                time = self.times[-1] + self._last_duration()
                self._offset = time - at
            self._last_stamp = at
        self._last_own = own
        self.times.append(time)
        return time

    def _last_duration(self) -> float:
        """Seconds that the last frame is shown where no next one says so."""
        if self._last_own > 0:
            return self._last_own
        return median_gap(np.asarray(self.times)) or self.period

    def timeline(self, track_end: float | None = None, longest: float = np.inf) -> tuple[np.ndarray, float]:
        """Lay out when each frame that was added is shown.

        Args:
            track_end: when the track ends by its header, seconds in the file's time; given where the durations that
                came with frames are those of decoding order (MP4 with frames reordered), else None.
            longest: longest time that any frame lasts by its packet, seconds: a header that says more counts frames
                that are not shown.
        Returns:
            Seconds at which each frame is shown, (N,), the first 0; and when the last one ends.
        """
        times = np.asarray(self.times)
        if len(times) > 1 and (np.diff(times) <= 0).mean() > 0.5:  # most timestamps stand still: they tell nothing
            times = np.arange(len(times)) * self.period
            return times, len(times) * self.period
        if not len(times):
            return times, 0.0
        left = None if track_end is None else track_end - self._last_stamp
        # Headers count in thousandths: where the two agree within that, the finer one is right.
        if left is None or abs(left - self._last_own) < _HEADER_ROUNDING:
            return times, float(times[-1] + self._last_duration())
        plausible = 0 < left < longest + _HEADER_ROUNDING
        return times, float(times[-1] + (left if plausible else median_gap(times) or self.period))


def median_gap(times: np.ndarray) -> float:
    """Median time from a frame to the next one.

    Args:
        times: when frames are shown, (N,), ascending; those of equal times are passed over.
    Returns:
        In the unit of `times`; 0 for a single frame.
    """
    gaps = np.diff(times)
    gaps = gaps[gaps > 0]
    return float(np.median(gaps)) if len(gaps) else 0.0


class _BestEffort:
    """Presentation times, or decoding times where those run backwards more often: libavcodec's own guess."""

    def __init__(self) -> None:
        self._last: dict[str, int | None] = {"pts": None, "dts": None}
        self._faults = {"pts": 0, "dts": 0}

    def choose(self, stamp: Stamp) -> int | None:
        self._note("dts", stamp.dts, stamp.pts)
        self._note("pts", stamp.pts, stamp.dts)
        if stamp.pts is not None and (self._faults["pts"] <= self._faults["dts"] or stamp.dts is None):
            return stamp.pts
        return stamp.dts

    def _note(self, kind: str, value: int | None, other: int | None) -> None:
        last = self._last[kind]
        if value is not None:
            self._faults[kind] += last is not None and value <= last
            self._last[kind] = value
        elif other is not None:
            self._last[kind] = other
