"""Retries of storage requests in a worker: back off, report to the circuit breaker, wait, probe."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

import ray

from m3ray.config import LimitsConfig
from m3ray.errors import StorageError
from m3ray.pipelines.extraction.circuit_breaker import CircuitBreaker, Decision
from m3ray.storage.fault_codes import classify_error
from m3ray.storage.faults import StorageFaultError, describe_fault
from m3ray.storage.filesystems import backoff_seconds, is_local, one_line
from m3ray.storage.secrets import redact
from m3ray.video.reader import probe_storage, read_once

T = TypeVar("T")
_POLL_SECONDS = 2.0
_REPORT_SECONDS = 5.0  # between two reports of a worker that reads without faults


@dataclass(frozen=True)
class RemoteBreaker:
    """A circuit breaker of the ledger actor.

    Args:
        ledger: Handle of a `crash_guard.Ledger` actor.
        name: `reads` or `writes`.
    """

    ledger: Any
    name: str

    def record_success(self, uri: str, seconds: float) -> None:
        """Call `CircuitBreaker.record_success`, without waiting for the ledger."""
        self.ledger.call_breaker.remote(self.name, "record_success", uri, seconds)

    def record_failure(self, uri: str, reason: str, attempt: int, max_attempts: int) -> Decision:
        """Call `CircuitBreaker.record_failure`."""
        return self._call("record_failure", uri, reason, attempt, max_attempts)

    def record_probe(self, uri: str, reason: str | None) -> Decision:
        """Call `CircuitBreaker.record_probe`."""
        return self._call("record_probe", uri, reason)

    def poll(self) -> Decision:
        """Call `CircuitBreaker.poll`."""
        return self._call("poll")

    def _call(self, method: str, *args: Any) -> Decision:
        return ray.get(self.ledger.call_breaker.remote(self.name, method, *args))


@dataclass(frozen=True)
class _Attempts:
    """Attempts of a request since the storage last answered: how many failed, and whether the next one is a probe."""

    count: int = 0
    is_probe: bool = False
    has_failed: bool = False

    def with_failure(self) -> _Attempts:
        return replace(self, count=self.count + 1, has_failed=True)


@dataclass
class StorageRetry:
    """Runs requests to a storage: retries a failing one with backoff, and follows the circuit breaker.

    Args:
        breaker: Circuit breaker that all users of the storage share.
        probe: Reads the first byte of a URI; raises StorageFaultError if the storage does not answer.
        sleep: Waits for a number of seconds.
    """

    breaker: CircuitBreaker | RemoteBreaker
    probe: Callable[[str], None] = probe_storage
    sleep: Callable[[float], None] = time.sleep
    _last_report: float = float("-inf")

    def read(self, uri: str, max_bytes: int) -> bytes:
        """Read the bytes of a video.

        Args:
            uri: Path or URI of the video.
            max_bytes: Largest file that is read, bytes.
        Returns:
            The whole file.
        Raises:
            DecodeError: If the object itself is at fault; as StorageFaultError if others are read meanwhile.
            StorageError: If the storage answered no request as long as the job waits.
        """
        return self.call(uri, lambda: read_once(uri, max_bytes))

    def call(self, uri: str, request: Callable[[], T]) -> T:
        """Run a request until it succeeds or the breaker decides otherwise.

        Args:
            uri: Path or URI that the request uses.
            request: The request; raises StorageFaultError if the storage fails.
        Returns:
            What the request returns.
        Raises:
            StorageFaultError: If this object alone fails.
            StorageError: If the storage answered no request as long as the job waits.
        """
        attempts = _Attempts()
        while True:
            start = time.monotonic()
            try:
                result = request()
            except StorageFaultError as error:
                if error.fault.attempts == 1:  # the object's own fault (archived, say), which concerns no other
                    raise
                attempts = self._wait_for_retry(uri, error, attempts.with_failure())
            else:
                self._report_success(uri, start, after_fault=attempts.has_failed)
                return result

    def _wait_for_retry(self, uri: str, error: StorageFaultError, attempts: _Attempts) -> _Attempts:
        """Wait until the request is to be tried again; the attempts that then count."""
        reason, has_waited = describe_fault(error.fault, uri), attempts.is_probe
        if attempts.is_probe:
            decision = self.breaker.record_probe(uri, reason)
        else:
            decision = self.breaker.record_failure(uri, reason, attempts.count, error.fault.attempts)
        while decision.action != "retry":
            if decision.action == "give up":
                raise error
            if decision.action == "stop":
                raise StorageError(decision.detail)
            if decision.action == "probe" and not decision.detail:
                return _Attempts(0, is_probe=True, has_failed=True)
            if decision.action == "probe":
                decision = self.breaker.record_probe(uri, self._run_probe(decision.detail))
            else:
                self.sleep(_POLL_SECONDS)
                decision, has_waited = self.breaker.poll(), True
        if not has_waited:
            self.sleep(backoff_seconds(attempts.count))
        return _Attempts(0 if has_waited else attempts.count, has_failed=True)

    def _run_probe(self, uri: str) -> str | None:
        """Why the probe failed; None if the storage answered."""
        try:
            self.probe(uri)
        except StorageFaultError as error:
            return describe_fault(error.fault, uri)
        return None

    def _report_success(self, uri: str, start: float, *, after_fault: bool) -> None:
        now = time.monotonic()
        if after_fault or now - self._last_report > _REPORT_SECONDS:
            self._last_report = now
            self.breaker.record_success(uri, now - start)


def make_retry(limits: LimitsConfig, ledger: Any = None) -> StorageRetry:
    """Make the retries of a reader of clips, which gives up a clip that alone fails.

    Args:
        limits: Per-clip resource limits; `storage_seconds` of them is used.
        ledger: Handle of a `crash_guard.Ledger` actor; None uses a breaker of this process alone.
    Returns:
        The retries.
    """
    is_shared = ledger is not None
    return StorageRetry(RemoteBreaker(ledger, "reads") if is_shared else _process_breaker(limits.storage_seconds))


def make_persistent_retry(limits: LimitsConfig, ledger: Any = None) -> StorageRetry:
    """Make retries that give up no request: a shard to write, say, that no other shard replaces.

    Args:
        limits: Per-clip resource limits; `storage_seconds` of them is used.
        ledger: Handle of a `crash_guard.Ledger` actor; None uses a breaker of its own.
    Returns:
        The retries.
    """
    if ledger is not None:
        return StorageRetry(RemoteBreaker(ledger, "writes"))
    return StorageRetry(CircuitBreaker(limits.storage_seconds, may_give_up=False))


@cache
def _process_breaker(seconds: float) -> CircuitBreaker:
    return CircuitBreaker(seconds)


def write_or_fault(uri: str, write: Callable[[], T]) -> T:
    """Write to a root; raise a failure of the storage as StorageFaultError.

    Args:
        uri: Path or URI that is written.
        write: The write.
    Returns:
        What the write returns.
    Raises:
        StorageFaultError: If the storage failed.
        OSError: As it was raised, if waiting does not help.
    """
    try:
        return write()
    except OSError as error:
        fault = classify_error(error, local=is_local(uri))
        if fault.kind != "storage":
            raise
        raise StorageFaultError(fault, f"{fault.name}: cannot write {redact(uri)}: {one_line(error)}") from error
