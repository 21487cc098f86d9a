"""Stall watchdog: stop a job in which no clip gets through a stage any more, and name what hung."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

import ray

from m3ray.errors import M3RayError
from m3ray.pipelines.runtime.progress import Progress
from m3ray.pipelines.runtime.rate import duration

_POLL_SECONDS, _ANSWER_SECONDS = 10.0, 5.0
_MAX_CLIPS_NAMED = 5

InProgress = tuple[str, str, float]  # stage and clip (`stage:clip_id`), node id, seconds


class StalledError(M3RayError):
    """No clip got through a stage as long as `--stall-minutes` allows."""


@dataclass(frozen=True)
class JobSnapshot:
    """State of a job at one time.

    Args:
        completed: Number of times that a clip got through a stage so far.
        in_progress: Clips that a worker computes, the longest first.
        is_paused: Whether the job waits for its storage.
        nodes: Ray's nodes, as `ray.nodes()` returns them.
    """

    completed: int
    in_progress: Sequence[InProgress]
    is_paused: bool
    nodes: Sequence[Mapping[str, Any]]

    def explains_standstill(self, required: Collection[str]) -> bool:
        """Whether it is clear why nothing moves: a pause, which has a limit of its own, or nodes that are to come.

        A clip on a node that is alive is being computed, whatever else is to come.

        Args:
            required: Ray resources without which no clip is computed: `CPU` or `GPU`.
        Returns:
            True if the time is not to be counted as a stall.
        """
        if self.is_paused:
            return True
        alive = [node for node in self.nodes if node["Alive"]]
        busy = {node["NodeID"] for node in alive} & {node for _, node, _ in self.in_progress}
        return not busy and any(not any(node["Resources"].get(name) for node in alive) for name in required)

    def describe(self, waiting_for: str) -> str:
        """Describe what hung.

        Args:
            waiting_for: What the job waits for where no clip is being computed, in words.
        Returns:
            The clips in progress with their stage, host and duration.
        """
        if not self.in_progress:
            return f"no clip was being computed; the job waited for {waiting_for}"
        hosts = {node["NodeID"]: node.get("NodeManagerHostname") or node.get("NodeName") for node in self.nodes}
        clips = [
            f"{key.partition(':')[2]} ({key.partition(':')[0]}) on {hosts.get(node) or node} for {duration(seconds)}"
            for key, node, seconds in self.in_progress[:_MAX_CLIPS_NAMED]
        ]
        count = len(self.in_progress) - _MAX_CLIPS_NAMED
        return f"being computed: {', '.join(clips)}{f' and {count} more' if count > 0 else ''}"


class StallClock:
    """Counts the seconds without progress that nothing explains.

    Args:
        clock: Monotonic clock, seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_update = clock()
        self._completed: int | None = None
        self._committed: int | None = None
        self.stalled_seconds = 0.0

    def update(self, snapshot: JobSnapshot | None, committed: int, required: Collection[str]) -> None:
        """Add the time since the last update, or begin anew where something moved.

        Args:
            snapshot: State of the job; None if nobody answered, which explains nothing.
            committed: Number of clips that were written or rejected so far.
            required: Ray resources without which no clip is computed.
        """
        now, last = self._clock(), self._last_update
        self._last_update = now
        completed = self._completed if snapshot is None else snapshot.completed
        if (completed, committed) != (self._completed, self._committed):
            self.stalled_seconds, self._completed, self._committed = 0.0, completed, committed
        elif snapshot is None or not snapshot.explains_standstill(required):
            self.stalled_seconds += now - last


class StallWatchdog:
    """Takes snapshots of a job, and interrupts the main thread once the job has stalled.

    Args:
        ledger: Handle of the `crash_guard.Ledger` actor of the job's stages.
        minutes: Minutes without a clip through a stage after which the job stops.
        progress: Progress of the job.
        required: Ray resources without which no clip is computed.
    """

    def __init__(self, ledger: Any, minutes: float, progress: Progress, required: Collection[str]) -> None:
        self._ledger, self._minutes, self._progress, self._required = ledger, minutes, progress, required
        self._clock = StallClock()
        self._stop, self._signal_lock = threading.Event(), threading.Lock()
        self._message = ""

    def check(self) -> None:
        """Raise an error if the job has stalled.

        Raises:
            StalledError: If it has.
        """
        if self._message:
            raise StalledError(self._message)

    def watch(self) -> None:
        """Watch the job until `end` is called or the job has stalled, and in that case interrupt the main thread."""
        timeout = 60 * self._minutes
        while not self._stop.wait(min(_POLL_SECONDS, timeout / 4)):
            snapshot = None
            with suppress(Exception):  # An answer that the ledger does not give is a missed look, no error.
                snapshot = take_snapshot(self._ledger)
            self._clock.update(snapshot, self._progress.done + self._progress.rejected, self._required)
            if self._clock.stalled_seconds >= timeout:
                self._interrupt(self._make_message(snapshot))
                return

    def _interrupt(self, message: str) -> None:
        with self._signal_lock:
            if not self._stop.is_set():
                self._message = message
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def end(self) -> None:
        """Stop watching; no signal is sent after this returns."""
        with self._signal_lock:
            self._stop.set()

    def _make_message(self, snapshot: JobSnapshot | None) -> str:
        unknown = "Ray does not answer what was being computed"
        culprit = unknown if snapshot is None else snapshot.describe(self._progress.waiting_for)
        return (
            f"stalled: no clip got through a stage for {duration(self._clock.stalled_seconds)} (--stall-minutes "
            f"{self._minutes:g}): {culprit}. What was committed stays, the same command goes on from there; where a "
            "clip may take so long, give a larger --stall-minutes, or 0"
        )


def take_snapshot(ledger: Any) -> JobSnapshot:
    """Take a snapshot of a job from its ledger and from Ray.

    Args:
        ledger: Handle of the `crash_guard.Ledger` actor of the job's stages.
    Returns:
        The snapshot.
    """
    answers = [ledger.count_completed.remote(), ledger.list_in_progress.remote(), ledger.pause_state.remote()]
    completed, in_progress, pause = ray.get(answers, timeout=_ANSWER_SECONDS)
    return JobSnapshot(completed, in_progress, pause is not None, ray.nodes())


@contextmanager
def stop_when_stalled(ledger: Any, minutes: float, progress: Progress, required: Collection[str]) -> Iterator[None]:
    """Stop the block once the job has stalled.

    The block may wait for Ray without an end, as it may at Ctrl-C: a signal to the main thread ends that, and Ray
    then stops its own work as it does there. In another thread than the main one no block is stopped.

    Args:
        ledger: Handle of the `crash_guard.Ledger` actor of the job's stages.
        minutes: Minutes without a clip through a stage after which the block is stopped; 0 never stops it.
        progress: Progress of the job.
        required: Ray resources without which no clip is computed.
    Yields:
        Once, to the block.
    Raises:
        StalledError: If the job has stalled.
    """
    if minutes <= 0 or threading.current_thread() is not threading.main_thread():
        yield
        return
    watchdog = StallWatchdog(ledger, minutes, progress, required)
    previous = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, partial(_handle_interrupt, watchdog, previous))
    threading.Thread(target=watchdog.watch, name="m3ray-stall", daemon=True).start()
    try:
        yield
    finally:
        try:
            watchdog.end()
        finally:  # also where the watchdog's signal came as the block ended
            signal.signal(signal.SIGINT, previous)


def _handle_interrupt(watchdog: StallWatchdog, previous: Any, number: int, frame: FrameType | None) -> None:
    """Raise for a signal of the watchdog; pass Ctrl-C on to the handler before."""
    watchdog.check()
    if callable(previous):
        previous(number, frame)
