"""What a job says while it runs, and the summary it leaves."""

from __future__ import annotations

import threading
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from m3ray.console import announce, say
from m3ray.pipelines.runtime.rate import RecentRate, duration

# Between two lines of progress: every 5 s at first, a minute from the first hour on, or a week's log has 120,000 lines.
_LINE_SECONDS, _MOST_LINE_SECONDS, _LINES = 5.0, 60.0, 60
_STILL_SECONDS = 60.0
# Of a standstill it is said after so many minutes, then every hour.
_WARNINGS = (1, 2, 5, 10, 20, 30, 60)


def run_name(job: str, started: float) -> str:
    """The folder of a run under `runs/`: by time, and no other's."""
    return time.strftime("%Y%m%dT%H%M%SZ-", time.gmtime(started)) + f"{job}-{uuid.uuid4().hex[:4]}"


@dataclass
class StageSeconds:
    """Seconds that clips spent in each stage, summed over all processes."""

    by_stage: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, seconds: dict[str, float]) -> None:
        for stage, spent in seconds.items():
            self.by_stage[stage] += spent

    def bottleneck(self) -> str | None:
        """The stage that took most seconds of work; None before the first clip."""
        return max(self.by_stage, key=lambda stage: self.by_stage[stage]) if self.by_stage else None

    def lines(self, clips: int, wall: float) -> list[str]:
        """A line a stage: its seconds a clip, its share of all work, and the clips a second of the whole."""
        total = sum(self.by_stage.values()) or 1.0
        out = [f"  {clips} clips in {wall:.1f} s: {clips / max(wall, 1e-9):.2f} clips/s"]
        for stage, spent in sorted(self.by_stage.items(), key=lambda item: -item[1]):
            mark = "  <- most of the work" if stage == self.bottleneck() else ""
            per_clip = spent / max(clips, 1)
            out.append(f"  {stage:<8} {per_clip:7.3f} s a clip  {100 * spent / total:4.0f} %{mark}")
        return out


class Progress:
    """Counts clips, prints a line now and then, and says so when nothing moves.

    Args:
        stage: its name, for the lines.
        total: clips to do.
        waiting_for: what to look at when nothing moves.
    """

    def __init__(self, stage: str, total: int, waiting_for: str) -> None:
        self.stage, self.total, self.waiting_for = stage, total, waiting_for
        self.done = self.rejected = 0
        self.seconds = StageSeconds()
        self._rate = RecentRate()
        self.start = self._moved = self._said = time.monotonic()
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._warn_when_still, daemon=True)

    def __enter__(self) -> Progress:
        say(f"{self.stage}: {self.total} clips to do")
        announce(self)
        self._watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        if kind is None:
            finished = self.done + self.rejected
            self._line(f"{finished / max(self.wall, 1e-9):.2f} clips/s")
            for line in self.seconds.lines(finished, self.wall):
                say(line)

    @property
    def wall(self) -> float:
        return time.monotonic() - self.start

    @property
    def moved(self) -> float:
        """When the latest clip was finished, on the monotonic clock; at first, when the work began."""
        return self._moved

    def counts(self) -> dict[str, Any]:
        """Clips done, rejected and to do, their pace over the last minutes and the seconds left; None: not known."""
        pace, left = self._rate.per_second(), self._rate.seconds_left(self.total - self.done - self.rejected)
        return {
            "clips_done": self.done,
            "clips_rejected": self.rejected,
            "clips_total": self.total,
            "clips_per_second": None if pace is None else round(pace, 3),
            "seconds_left": None if left is None else round(left),
        }

    def add(self, done: int, rejected: int, seconds: dict[str, float]) -> None:
        """Counts clips that were committed."""
        self.done += done
        self.rejected += rejected
        self.seconds.add(seconds)
        self._moved = time.monotonic()
        self._rate.add(self.done + self.rejected)
        if self._moved - self._said >= min(max(_LINE_SECONDS, self.wall / _LINES), _MOST_LINE_SECONDS):
            self._line(self._pace())

    def include(self, other: Progress) -> None:
        """Counts what another part of the same work did."""
        self.done, self.rejected = self.done + other.done, self.rejected + other.rejected
        self.seconds.add(other.seconds.by_stage)

    def _pace(self) -> str:
        counts = self.counts()
        if counts["clips_per_second"] is None:
            return "pace not known yet"
        return f"{counts['clips_per_second']:.2f} clips/s, about {duration(counts['seconds_left'])} left"

    def _line(self, pace: str) -> None:
        self._said = time.monotonic()
        say(f"{self.stage}: {self.done + self.rejected}/{self.total} done, {self.rejected} rejected, {pace}")

    def _warn_when_still(self) -> None:
        moved, said = self._moved, 0
        while not self._stop.wait(_STILL_SECONDS / 4):
            if self._moved != moved:
                moved, said = self._moved, 0
            still = time.monotonic() - moved
            if still >= _STILL_SECONDS * warning_after(said):
                said += 1
                say(f"{self.stage}: nothing finished for {duration(still)}; waiting for {self.waiting_for}")


def warning_after(said: int) -> int:
    """Minutes of a standstill after which the next warning is due, where `said` were given: ever more rarely."""
    return _WARNINGS[said] if said < len(_WARNINGS) else _WARNINGS[-1] * (said - len(_WARNINGS) + 2)
