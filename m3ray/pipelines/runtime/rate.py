"""The pace of the last minutes, and how long the remaining clips will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

_WINDOW_SECONDS = 120.0
# Fewest commits to look back on, though they lie further apart than the window: a large shard may take minutes.
_FEWEST = 4


class RecentRate:
    """Clips a second over the last minutes; what came before, such as a wait for nodes, no longer counts.

    Args:
        clock: function that returns seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)])

    def add(self, finished: int) -> None:
        """Add a sample.

        Args:
            finished: number of clips that are finished by now.
        """
        now = self._clock()
        self._samples.append((now, finished))
        while len(self._samples) > _FEWEST and self._samples[1][0] < now - _WINDOW_SECONDS:
            self._samples.popleft()

    def per_second(self) -> float | None:
        """Clips a second; None before the first clip."""
        samples = list(self._samples)
        (first, before), (last, finished) = samples[0], samples[-1]
        if finished <= before:
            return None
        # Between two commits there is no news; a wait that is longer than the usual gap means a slower pace.
        gap = (last - first) / (len(samples) - 1)
        late = max(0.0, self._clock() - last - gap)
        return (finished - before) / max(last - first + late, 1e-9)

    def seconds_left(self, clips: int) -> float | None:
        """Seconds that more clips will take at this pace.

        Args:
            clips: number of clips that are left.
        Returns:
            Seconds; None before the first clip.
        """
        pace = self.per_second()
        return None if pace is None else clips / pace


def duration(seconds: float) -> str:
    """Duration as a person says it.

    Args:
        seconds: seconds, at least 0.
    Returns:
        Text such as `40 s`, `12 min`, `3.5 h` or `2.3 days`.
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
