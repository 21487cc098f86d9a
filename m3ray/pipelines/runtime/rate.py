"""How fast clips are done lately, and how long the others will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

_WINDOW_SECONDS = 120.0
# Of commits, though they lie further apart than the window: a large shard may take minutes.
_FEWEST = 4


class RecentRate:
    """Clips a second over the last minutes: what came before (nodes that were not there yet, a pause) counts no more.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)])

    def add(self, finished: int) -> None:
        """Notes how many clips are finished by now."""
        now = self._clock()
        self._samples.append((now, finished))
        while len(self._samples) > _FEWEST and self._samples[1][0] < now - _WINDOW_SECONDS:
            self._samples.popleft()

    def per_second(self) -> float | None:
        """Clips a second; None before the first."""
        samples = list(self._samples)
        (first, before), (last, finished) = samples[0], samples[-1]
        if finished <= before:
            return None
        # Between two commits nothing is known; a wait that is longer than they lie apart tells of a slower pace.
        gap = (last - first) / (len(samples) - 1)
        late = max(0.0, self._clock() - last - gap)
        return (finished - before) / max(last - first + late, 1e-9)

    def seconds_left(self, clips: int) -> float | None:
        """Seconds that `clips` more will take; None where the pace is not known."""
        pace = self.per_second()
        return None if pace is None else clips / pace


def duration(seconds: float) -> str:
    """Seconds as a person says them: `40 s`, `12 min`, `3.5 h`, `2.3 days`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
