"""Progress of a job's clips: counts, lines with pace and time left, and warnings when nothing moves."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from m3ray.console import Work, log_progress, publish
from m3ray.pipelines.runtime.rate import RecentRate, duration

logger = logging.getLogger(__name__)

# Between two lines of progress: every 5 s at first, a minute from the first hour on, or a week's log has 120,000 lines.
_LINE_SECONDS, _MOST_LINE_SECONDS, _LINES = 5.0, 60.0, 60
_STILL_SECONDS = 60.0
# Minutes of a standstill after which a warning is logged; then one every hour.
_WARNINGS = (1, 2, 5, 10, 20, 30, 60)


def run_name(job: str, started: float) -> str:
    """Name of a run's folder under `runs/`: its time, its job and four random digits.

    Args:
        job: name of the job.
        started: when the run began, seconds since 1970.
    Returns:
        Name such as `20260102T030405Z-extract-1a2b`; names sort by time.
    """
    return time.strftime("%Y%m%dT%H%M%SZ-", time.gmtime(started)) + f"{job}-{uuid.uuid4().hex[:4]}"


@dataclass
class StageSeconds:
    """Seconds that clips spent in each stage, summed over all processes."""

    by_stage: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, seconds: dict[str, float]) -> None:
        """Add seconds of work.

        Args:
            seconds: stage to seconds.
        """
        for stage, spent in seconds.items():
            self.by_stage[stage] += spent

    def bottleneck(self) -> str | None:
        """The stage that took most seconds of work; None before the first clip."""
        return max(self.by_stage, key=lambda stage: self.by_stage[stage]) if self.by_stage else None

    def lines(self, clips: int, wall: float) -> list[str]:
        """Lines that show where the time went.

        Args:
            clips: number of clips that were finished.
            wall: seconds from beginning to end.
        Returns:
            A line with the clips a second of the whole, then one a stage: seconds a clip, and its share of all work.
        """
        total = sum(self.by_stage.values()) or 1.0
        out = [f"  {clips} clips in {wall:.1f} s: {clips / max(wall, 1e-9):.2f} clips/s"]
        for stage, spent in sorted(self.by_stage.items(), key=lambda item: -item[1]):
            mark = "  <- most of the work" if stage == self.bottleneck() else ""
            per_clip = spent / max(clips, 1)
            out.append(f"  {stage:<8} {per_clip:7.3f} s a clip  {100 * spent / total:4.0f} %{mark}")
        return out


class Progress:
    """Count clips, log a line now and then, and warn when nothing moves.

    Args:
        stage: name of the stage, for the lines.
        total: number of clips to do.
        waiting_for: what the stage waits for when nothing moves, for the warning.
    """

    def __init__(self, stage: str, total: int, waiting_for: str) -> None:
        self.stage, self.total, self.waiting_for = stage, total, waiting_for
        self.done = self.rejected = 0
        self.seconds = StageSeconds()
        self._rate = RecentRate()
        self.start = self._last_change = self._last_line = time.monotonic()
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._warn_when_still, daemon=True)

    def __enter__(self) -> Progress:
        logger.info(f"{self.stage}: {self.total} clips to do")
        publish(self)
        publish(Work(self.describe, begins=True))
        self._watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        publish(Work(self.describe, begins=False))
        if kind is None:
            finished = self.done + self.rejected
            logger.info(f"{self._count()}, {finished / max(self.wall, 1e-9):.2f} clips/s")
            for line in self.seconds.lines(finished, self.wall):
                logger.info(line)

    @property
    def wall(self) -> float:
        """Seconds since the work began."""
        return time.monotonic() - self.start

    def counts(self) -> dict[str, Any]:
        """Clips done, rejected and to do, the pace over the last minutes and the seconds left; None: not yet known."""
        pace, left = self._rate.per_second(), self._rate.seconds_left(self.total - self.done - self.rejected)
        return {
            "clips_done": self.done,
            "clips_rejected": self.rejected,
            "clips_total": self.total,
            "clips_per_second": None if pace is None else round(pace, 3),
            "seconds_left": None if left is None else round(left),
        }

    def add(self, done: int, rejected: int, seconds: dict[str, float]) -> None:
        """Count clips that were committed, and log a line if one is due.

        Args:
            done: number of clips with features.
            rejected: number of rejected clips.
            seconds: stage to seconds of work on these clips.
        """
        self.done += done
        self.rejected += rejected
        self.seconds.add(seconds)
        self._last_change = time.monotonic()
        self._rate.add(self.done + self.rejected)
        if self._last_change - self._last_line >= min(max(_LINE_SECONDS, self.wall / _LINES), _MOST_LINE_SECONDS):
            self._last_line = self._last_change
            log_progress(logger, f"{self._count()}, {self._pace()}")

    def describe(self) -> str:
        """How far the work is and how long it has stood still, for a terminal's line."""
        counts, still = self.counts(), time.monotonic() - self._last_change
        parts = [f"{self.stage}: {self.done + self.rejected}/{self.total}", f"{self.rejected} rejected"]
        if still >= _STILL_SECONDS:
            parts.append(f"nothing for {duration(still)}")
        if counts["clips_per_second"] is not None:
            parts += [f"{counts['clips_per_second']:.2f} clips/s", f"{duration(counts['seconds_left'])} left"]
        return ", ".join([*parts, f"{duration(self.wall)} so far"])  # a narrow terminal cuts the end

    def include(self, other: Progress) -> None:
        """Add what another part of the same work did.

        Args:
            other: progress of that part, at its end.
        """
        self.done, self.rejected = self.done + other.done, self.rejected + other.rejected
        self.seconds.add(other.seconds.by_stage)

    def _pace(self) -> str:
        counts = self.counts()
        if counts["clips_per_second"] is None:
            return "pace not known yet"
        return f"{counts['clips_per_second']:.2f} clips/s, about {duration(counts['seconds_left'])} left"

    def _count(self) -> str:
        return f"{self.stage}: {self.done + self.rejected}/{self.total} done, {self.rejected} rejected"

    def _warn_when_still(self) -> None:
        last_change, warnings = self._last_change, 0
        while not self._stop.wait(_STILL_SECONDS / 4):
            if self._last_change != last_change:
                last_change, warnings = self._last_change, 0
            still = time.monotonic() - last_change
            if still >= _STILL_SECONDS * warning_minutes(warnings):
                warnings += 1
                logger.warning(f"{self.stage}: nothing finished for {duration(still)}; waiting for {self.waiting_for}")


def warning_minutes(warnings: int) -> int:
    """Minutes of a standstill after which the next warning is due; the gaps grow up to an hour.

    Args:
        warnings: number of warnings that this standstill has had.
    Returns:
        Minutes since the last clip was finished.
    """
    return _WARNINGS[warnings] if warnings < len(_WARNINGS) else _WARNINGS[-1] * (warnings - len(_WARNINGS) + 2)
