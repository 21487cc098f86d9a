"""What the driver says of a job that waits for its storage, and how it stops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

import ray

from m3ray.config import LimitsConfig
from m3ray.console import say
from m3ray.errors import StorageError
from m3ray.pipelines.runtime.events import emit
from m3ray.pipelines.runtime.progress import Progress

_WATCH_SECONDS, _SAID_SECONDS, _ANSWER_SECONDS = 2.0, 15.0, 10.0


@contextmanager
def watched(ledger: Any, limits: LimitsConfig, progress: Progress | None = None) -> Iterator[None]:
    """Says when the job is paused and when it goes on; its stop is an error of one line.

    Args:
        ledger: of `strikes`, that the job's stages have.
        limits: how long the job waits.
        progress: its complaint of a standstill names the storage meanwhile.

    Raises:
        StorageError: the storage answered for no clip as long as the job waits.
    """
    stop, watcher = Event(), _Watcher(limits.storage_seconds, progress)
    thread = Thread(target=_watch, args=(ledger, watcher, stop), daemon=True)
    thread.start()
    try:
        yield
    except Exception:
        words = _why_stopped(ledger)
        if not words:
            raise
        raise StorageError(words) from None  # not the traceback of the worker that was the first to stop
    finally:
        stop.set()
        thread.join()


def _why_stopped(ledger: Any) -> str:
    with suppress(Exception):  # where Ray itself is gone, that is the error to show
        return ray.get(ledger.storage_stop.remote(), timeout=_ANSWER_SECONDS)
    return ""


def _watch(ledger: Any, watcher: _Watcher, stop: Event) -> None:
    ended = False
    while not ended:
        ended = stop.wait(_WATCH_SECONDS)
        if ended and not watcher.is_paused:
            return
        with suppress(Exception):  # an answer that the ledger does not give is one missed
            watcher.see(ray.get(ledger.storage_state.remote(), timeout=_WATCH_SECONDS))


class _Watcher:
    """Turns what the breakers say into lines.

    Args:
        seconds: that the job waits.
        progress: whose complaint of a standstill names the storage meanwhile.
    """

    def __init__(self, seconds: float, progress: Progress | None) -> None:
        self.seconds = seconds
        self.progress = progress
        self._usual = "" if progress is None else progress.waiting_for
        self._waited = self._said = 0.0

    @property
    def is_paused(self) -> bool:
        """Whether a pause was said, and not yet its end."""
        return self._waited > 0

    def see(self, state: tuple[float, str] | None) -> None:
        if state is None:
            self._end()
            return
        waited, words = state
        self._wait_for(f"the storage: {words}")
        if not self._waited:
            emit("paused", f"storage answers {words}", gives_up_after_seconds=self.seconds)
        if not self._waited or waited - self._said >= max(_SAID_SECONDS, self._said / 2):  # ever more rarely
            self._said = waited
            say(f"paused: storage answers {words}; {waited:.0f} s, gives up after {self.seconds:.0f} s")
        self._waited = max(waited, 1e-9)

    def _end(self) -> None:
        if self._waited:
            emit("resumed", "the storage answers again", paused_seconds=round(self._waited))
            say(f"resumed: the storage answers again after {self._waited:.0f} s; nothing was rejected")
            self._wait_for(self._usual)
        self._waited = self._said = 0.0

    def _wait_for(self, what: str) -> None:
        if self.progress is not None:
            self.progress.waiting_for = what
