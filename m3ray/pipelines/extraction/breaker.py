"""What all users of a storage know of it together: whether one clip fails, or everything does.

A worker whose attempts are used up asks the breaker, which knows what others read meanwhile. Something was read since:
the fault is that of one object, whose clip becomes a row that the next job tries again. Nothing was: the job is
paused, one worker at a time probes, and all go on when the storage answers. After `limits.storage_seconds` the job
stops; nothing was rejected.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Deed = Literal["again", "wait", "probe", "give up", "stop"]
PROBE_SECONDS = 3.0


@dataclass(frozen=True)
class Order:
    """What a worker does next.

    Args:
        deed: `again`: try once more; `wait`: ask again later; `probe`: the same for all, by `text` or by your own;
            `give up` this clip; `stop`.
        text: a URI that was read before; or why the job stops.
    """

    deed: Deed
    text: str = ""


@dataclass(frozen=True)
class Pause:
    """A pause of the job: since when, in seconds of the breaker's clock, and why."""

    since: float
    words: str


@dataclass
class Breaker:
    """What is known of a storage by all who use it. Lives in the ledger's process, or in a worker's own.

    Args:
        seconds: how long the job waits.
        spares: whether one user may be sent on while others get through; writers never are.
        clock: seconds, monotonic.
    """

    seconds: float
    spares: bool = True
    clock: Callable[[], float] = time.monotonic
    pause: Pause | None = None
    known: str = ""  # a URI that was read
    stopped: str = ""  # why the job stops
    _worked: float = float("-inf")  # when the latest request began that got through
    _probed: float = float("-inf")
    _before: dict[str, float] = field(default_factory=dict)  # of each that fails, its failure before the last

    def worked(self, uri: str, seconds: float) -> None:
        """Notes that a request got through.

        Args:
            uri: what was read; may be probed later.
            seconds: that it took: what began before a fault says nothing of the time after it.
        """
        began = self.clock() - seconds
        self._worked, self.known = max(self._worked, began), uri
        self._before.pop(uri, None)
        if self.pause is not None and began >= self.pause.since:
            self.pause = None

    def failed(self, uri: str, words: str, attempt: int, most: int) -> Order:
        """Notes a fault.

        Args:
            uri: what could not be read.
            words: the fault's name, where, and what to do.
            attempt: how often it was tried.
            most: how often it is tried before others are looked at.
        """
        last, self._before[uri] = self._before.get(uri, float("-inf")), self.clock()
        if self.pause is None and attempt < most:
            return Order("again")
        if self.pause is None and self.spares and attempt > 1 and self._worked > last:
            return self._given_up(uri)
        if self.pause is None and self.spares and self.known:
            return Order("probe", self.known)
        return self._paused(words)

    def probed(self, uri: str, words: str | None) -> Order:
        """Notes what a probe found.

        Args:
            uri: the clip of the worker that probed.
            words: as in `failed`; None: the storage answered.
        """
        if words is not None:
            return self._paused(words)
        paused, self.pause, self._worked = self.pause is not None, None, self.clock()
        # After a pause each clip has all its attempts again; without one, the fault is this object's own.
        return Order("again") if paused else self._given_up(uri)

    def waiting(self) -> Order:
        """What a worker that waits does now."""
        if self.pause is None:
            return Order("again")
        now = self.clock()
        if now - self.pause.since > self.seconds:
            self.stopped = _stopping(self.pause.words, now - self.pause.since)
            return Order("stop", self.stopped)
        if now - self._probed >= PROBE_SECONDS:
            self._probed = now
            return Order("probe", self.known if self.spares else "")
        return Order("wait")

    def state(self) -> tuple[float, str] | None:
        """Seconds of the pause so far and its words; None while all goes well."""
        return None if self.pause is None else (self.clock() - self.pause.since, self.pause.words)

    def _paused(self, words: str) -> Order:
        if self.pause is None:
            self.pause, self._probed = Pause(self.clock(), words), self.clock()
        return Order("wait")

    def _given_up(self, uri: str) -> Order:
        self._before.pop(uri, None)
        return Order("give up")


def _stopping(words: str, seconds: float) -> str:
    return (
        f"the storage answered for nothing in {seconds:.0f} s: {words}. Nothing was rejected: mend it and run the same "
        "command again, which goes on from here"
    )
