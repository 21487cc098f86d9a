"""Pauses of a job whose storage does not answer: reported on the driver, and turned into an error at their end."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

import ray

from m3ray.config import LimitsConfig
from m3ray.errors import StorageError
from m3ray.pipelines.runtime.events import emit
from m3ray.pipelines.runtime.progress import Progress

logger = logging.getLogger(__name__)

_WATCH_SECONDS, _REPORT_SECONDS, _ANSWER_SECONDS = 2.0, 15.0, 10.0


@contextmanager
def report_pauses(ledger: Any, limits: LimitsConfig, progress: Progress | None = None) -> Iterator[None]:
    """Report pauses of the job and their ends while the block runs; turn a stop into an error of one line.

    Args:
        ledger: Handle of the `crash_guard.Ledger` actor of the job's stages.
        limits: Per-clip resource limits; `storage_seconds` of them is how long the job waits.
        progress: Progress of the job, whose warnings of a standstill name the storage during a pause; None if it has
            none.
    Yields:
        Once, to the block.
    Raises:
        StorageError: If the storage answered no request as long as the job waits.
    """
    stop, reporter = Event(), PauseReporter(limits.storage_seconds, progress)
    thread = Thread(target=_watch, args=(ledger, reporter, stop), daemon=True)
    thread.start()
    try:
        yield
    except Exception:
        reason = _read_stop_reason(ledger)
        if not reason:
            raise
        raise StorageError(reason) from None  # not the traceback of the worker that was the first to stop
    finally:
        stop.set()
        thread.join()


def _read_stop_reason(ledger: Any) -> str:
    with suppress(Exception):  # Where Ray itself is gone, that is the error to show.
        return ray.get(ledger.stop_reason.remote(), timeout=_ANSWER_SECONDS)
    return ""


def _watch(ledger: Any, reporter: PauseReporter, stop: Event) -> None:
    has_ended = False
    while not has_ended:
        has_ended = stop.wait(_WATCH_SECONDS)
        if has_ended and not reporter.is_paused:
            return
        with suppress(Exception):  # An answer that the ledger does not give is a missed look, no error.
            reporter.update(ray.get(ledger.pause_state.remote(), timeout=_WATCH_SECONDS))


class PauseReporter:
    """Turns the state of the circuit breakers into log lines and events.

    Args:
        timeout_seconds: Seconds that the job waits before it stops.
        progress: Progress whose warnings of a standstill name the storage during a pause; None if there is none.
    """

    def __init__(self, timeout_seconds: float, progress: Progress | None) -> None:
        self.timeout_seconds = timeout_seconds
        self.progress = progress
        self._usual_cause = "" if progress is None else progress.waiting_for
        self._paused_seconds = self._reported_seconds = 0.0

    @property
    def is_paused(self) -> bool:
        """Whether a pause was reported and its end was not."""
        return self._paused_seconds > 0

    def update(self, state: tuple[float, str] | None) -> None:
        """Report a pause when it begins, ever more rarely while it lasts, and when it ends.

        Args:
            state: Seconds of the pause so far and its reason; None if the job is not paused.
        """
        if state is None:
            self._end()
            return
        seconds, reason = state
        self._set_waiting_for(f"the storage: {reason}")
        if not self._paused_seconds:
            emit("paused", f"storage answers {reason}", gives_up_after_seconds=self.timeout_seconds)
        is_due = seconds - self._reported_seconds >= max(_REPORT_SECONDS, self._reported_seconds / 2)
        if not self._paused_seconds or is_due:
            self._reported_seconds = seconds
            logger.info(
                f"paused: storage answers {reason}; {seconds:.0f} s, gives up after {self.timeout_seconds:.0f} s"
            )
        self._paused_seconds = max(seconds, 1e-9)

    def _end(self) -> None:
        if self._paused_seconds:
            emit("resumed", "the storage answers again", paused_seconds=round(self._paused_seconds))
            logger.info(f"resumed: the storage answers again after {self._paused_seconds:.0f} s; nothing was rejected")
            self._set_waiting_for(self._usual_cause)
        self._paused_seconds = self._reported_seconds = 0.0

    def _set_waiting_for(self, cause: str) -> None:
        if self.progress is not None:
            self.progress.waiting_for = cause
