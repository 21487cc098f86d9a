"""Circuit breaker for the storage: tell the failure of one clip from the failure of everything.

Closed, every request passes. A worker whose attempts are used up reports to the breaker, which knows what others read
meanwhile. If anything was read since, the fault is that of one object, whose clip becomes a reject that the next job
tries again. Otherwise the breaker opens: the job is paused. Every `PROBE_SECONDS` it is half-open: one worker sends a
probe, and a probe that succeeds closes the breaker for all. After `limits.storage_seconds` the job stops; nothing was
rejected.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Action = Literal["retry", "wait", "probe", "give up", "stop"]
PROBE_SECONDS = 3.0


@dataclass(frozen=True)
class Decision:
    """What a worker does next.

    Args:
        action: `retry`: try the request again; `wait`: poll the breaker again later; `probe`: test the storage for all
            workers, with `detail` or with the own request; `give up`: reject this clip; `stop`: end the job.
        detail: URI to probe, one that was read before; of `stop`, the reason. Empty where neither applies.
    """

    action: Action
    detail: str = ""


@dataclass(frozen=True)
class Pause:
    """A pause of the job.

    Args:
        since: Seconds of the breaker's clock at which the breaker opened.
        reason: Name and place of the fault that opened it, and what to do.
    """

    since: float
    reason: str


@dataclass
class CircuitBreaker:
    """State of a storage as all its users see it; lives in the ledger actor, or in a worker of its own.

    Args:
        timeout_seconds: Seconds that the breaker may stay open before the job stops.
        may_give_up: Whether one user may give up its request while others get through. Never for writers: other
            shards that were written do not replace this one.
        clock: Monotonic clock, seconds.
        pause: The current pause; None while the breaker is closed.
        readable_uri: URI that was read before, to probe; empty if there is none.
        stop_reason: Why the job stops; empty while it goes on.
    """

    timeout_seconds: float
    may_give_up: bool = True
    clock: Callable[[], float] = time.monotonic
    pause: Pause | None = None
    readable_uri: str = ""
    stop_reason: str = ""
    _last_success: float = float("-inf")  # start of the latest request that got through
    _last_probe: float = float("-inf")
    _last_failures: dict[str, float] = field(default_factory=dict)  # URI to the time of its latest failure

    def record_success(self, uri: str, seconds: float) -> None:
        """Record a request that got through; close the breaker if it began after the breaker opened.

        Args:
            uri: URI of the request, which later probes may read.
            seconds: Duration of the request. One that began before a fault says nothing about the time after it.
        """
        start = self.clock() - seconds
        self._last_success, self.readable_uri = max(self._last_success, start), uri
        self._last_failures.pop(uri, None)
        if self.pause is not None and start >= self.pause.since:
            self.pause = None

    def record_failure(self, uri: str, reason: str, attempt: int, max_attempts: int) -> Decision:
        """Record a request that failed, and decide how its worker goes on.

        Args:
            uri: URI of the request.
            reason: Name and place of the fault, and what to do.
            attempt: Number of this attempt, from 1.
            max_attempts: Attempts of a single request before other users' requests are considered.
        Returns:
            `retry`, `wait`, `probe` or `give up`.
        """
        previous, self._last_failures[uri] = self._last_failures.get(uri, float("-inf")), self.clock()
        if self.pause is None and attempt < max_attempts:
            return Decision("retry")
        if self.pause is None and self.may_give_up and attempt > 1 and self._last_success > previous:
            return self._give_up(uri)
        if self.pause is None and self.may_give_up and self.readable_uri:
            return Decision("probe", self.readable_uri)
        return self._open(reason)

    def record_probe(self, uri: str, reason: str | None) -> Decision:
        """Record the outcome of a probe, which closes the breaker or opens it.

        Args:
            uri: URI of the request whose worker sent the probe.
            reason: As in `record_failure`; None if the storage answered.
        Returns:
            `wait` after a failure; `retry` after a pause; `give up` if only this worker's object fails.
        """
        if reason is not None:
            return self._open(reason)
        was_open, self.pause, self._last_success = self.pause is not None, None, self.clock()
        # After a pause each clip has all its attempts again; without one, the fault is this object's own.
        return Decision("retry") if was_open else self._give_up(uri)

    def poll(self) -> Decision:
        """Decide what a waiting worker does; half-open, one worker every `PROBE_SECONDS` is sent to probe.

        Returns:
            `retry` once the breaker is closed; `wait`, `probe`, or after the timeout `stop`.
        """
        if self.pause is None:
            return Decision("retry")
        now = self.clock()
        if now - self.pause.since > self.timeout_seconds:
            self.stop_reason = _stop_message(self.pause.reason, now - self.pause.since)
            return Decision("stop", self.stop_reason)
        if now - self._last_probe >= PROBE_SECONDS:
            self._last_probe = now
            return Decision("probe", self.readable_uri if self.may_give_up else "")
        return Decision("wait")

    def pause_state(self) -> tuple[float, str] | None:
        """Seconds that the breaker has been open and the reason; None while it is closed."""
        return None if self.pause is None else (self.clock() - self.pause.since, self.pause.reason)

    def _open(self, reason: str) -> Decision:
        if self.pause is None:
            self.pause, self._last_probe = Pause(self.clock(), reason), self.clock()
        return Decision("wait")

    def _give_up(self, uri: str) -> Decision:
        self._last_failures.pop(uri, None)
        return Decision("give up")


def _stop_message(reason: str, seconds: float) -> str:
    return (
        f"the storage answered no request for {seconds:.0f} s: {reason}. Nothing was rejected: restore the access, and "
        "run the same command again; it continues from here"
    )
