"""When frames are shown, and the shots that cuts part a video into."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from m3ray.video.sampling import ROUNDING, sample_frames


@dataclass(frozen=True)
class Timeline:
    """When each frame of a video is shown, as a player shows them.

    Args:
        times: seconds since the first frame, (N,), ascending.
        duration: time from the first frame to the end of the last one, seconds; 0 for an image.
        rounding: how far the container's times may be off, seconds.
    """

    times: np.ndarray
    duration: float
    rounding: float = ROUNDING

    @staticmethod
    def steady(frames: int, fps: float) -> Timeline:
        """Make the timeline of frames that are shown for the same time each.

        Args:
            frames: their number.
            fps: frames a second.
        Returns:
            Their timeline.
        """
        return Timeline(np.arange(frames) / fps, frames / fps)

    def sample(self, fps: float) -> np.ndarray:
        """Find the frames that the tiers see.

        Args:
            fps: frames a second to sample.
        Returns:
            Their indices, (T,), as `decode` takes them.
        """
        return sample_frames(self.times, self.duration, fps, self.rounding)


@dataclass(frozen=True)
class Shots:
    """The shots of a video, in order; they leave nothing out.

    Args:
        frames: index of each shot's first frame among those that are shown, (S,), the first 0.
        slots: index of its first frame among the sampled ones, (S,), the first 0.
        starts: when it begins, seconds, (S,).
        duration: when the last one ends, seconds.
        shown: number of frames that are shown.
        sampled: number of frames that are sampled.
    """

    frames: np.ndarray
    slots: np.ndarray
    starts: np.ndarray
    duration: float
    shown: int
    sampled: int

    def __len__(self) -> int:
        return len(self.frames)

    @cached_property
    def ends(self) -> np.ndarray:
        """When each shot ends, seconds, (S,)."""
        return np.append(self.starts[1:], self.duration)

    @cached_property
    def frame_counts(self) -> np.ndarray:
        """How many frames each shot shows, (S,)."""
        return np.diff(self.frames, append=self.shown)

    @cached_property
    def slot_counts(self) -> np.ndarray:
        """How many sampled frames each shot has, (S,), at least one."""
        return np.diff(self.slots, append=self.sampled)


def lay_shots(cuts: np.ndarray, timeline: Timeline, fps: float, shortest: float) -> Shots:
    """Lay out the shots between cuts.

    A shot shorter than `shortest`, or of which no frame is sampled, is joined to the one before it; the first one to
    the next.

    Args:
        cuts: index of each frame that begins a shot, ascending; 0 and what lies beyond the end are passed over.
        timeline: when frames are shown.
        fps: frames a second that the tiers see.
        shortest: length of the shortest shot, seconds.
    Returns:
        The shots, at least one.
    """
    positions, shown = timeline.sample(fps), len(timeline.times)
    kept = [0]
    for cut in (int(cut) for cut in cuts if 0 < cut < shown):
        if _may_part(kept[-1], cut, timeline, positions, shortest):
            kept.append(cut)
    while len(kept) > 1 and not _may_part(kept[-1], shown, timeline, positions, shortest):
        kept.pop()
    frames = np.array(kept, np.int64)
    slots = np.searchsorted(positions, frames)
    return Shots(frames, slots, timeline.times[frames], timeline.duration, shown, len(positions))


def _may_part(first: int, end: int, timeline: Timeline, positions: np.ndarray, shortest: float) -> bool:
    """Whether the frames [first, end) are a shot of their own: long enough, and one of them is sampled."""
    times = timeline.times
    until = timeline.duration if end == len(times) else times[end]
    # Times of frames are rounded: a shot of just this length is one.
    long_enough = until - times[first] >= shortest - 2 * timeline.rounding
    return bool(long_enough and np.searchsorted(positions, end) > np.searchsorted(positions, first))
