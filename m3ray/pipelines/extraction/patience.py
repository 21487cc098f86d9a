"""Patience with a storage that fails: what a worker does about a fault."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol, TypeVar

import ray

from m3ray.config import LimitsConfig
from m3ray.errors import StorageError
from m3ray.pipelines.extraction.breaker import Breaker, Order
from m3ray.storage.fault_codes import fault_of
from m3ray.storage.faults import StorageFault, told
from m3ray.storage.filesystems import is_local, one_line, wait_after
from m3ray.storage.secrets import redacted
from m3ray.video.reader import probe, read_once

T = TypeVar("T")
_POLL_SECONDS = 2.0
_TOLD_SECONDS = 5.0  # between two reports of a worker that reads without faults


class Knows(Protocol):
    """A breaker, here or elsewhere."""

    def worked(self, uri: str, seconds: float) -> None: ...
    def failed(self, uri: str, words: str, attempt: int, most: int) -> Order: ...
    def probed(self, uri: str, words: str | None) -> Order: ...
    def waiting(self) -> Order: ...


@dataclass(frozen=True)
class Remote:
    """A breaker of the ledger actor.

    Args:
        ledger: handle of a `strikes.Ledger`.
        name: `reads` or `writes`.
    """

    ledger: Any
    name: str

    def worked(self, uri: str, seconds: float) -> None:
        self.ledger.storage.remote(self.name, "worked", uri, seconds)

    def failed(self, uri: str, words: str, attempt: int, most: int) -> Order:
        return ray.get(self.ledger.storage.remote(self.name, "failed", uri, words, attempt, most))

    def probed(self, uri: str, words: str | None) -> Order:
        return ray.get(self.ledger.storage.remote(self.name, "probed", uri, words))

    def waiting(self) -> Order:
        return ray.get(self.ledger.storage.remote(self.name, "waiting"))


@dataclass(frozen=True)
class _Tries:
    """How often something was tried since the storage last answered.

    Args:
        count: tries that failed.
        probing: whether the next one stands for all who wait.
        failed: whether any failed.
    """

    count: int = 0
    probing: bool = False
    failed: bool = False

    def another(self) -> _Tries:
        return replace(self, count=self.count + 1, failed=True)


@dataclass
class Patience:
    """Uses a storage with patience: what fails is tried again, asked about, waited for.

    Args:
        breaker: shared with others.
        probe: reads a little of what was readable before; raises StorageFault.
        sleep: seconds.
    """

    breaker: Knows
    probe: Callable[[str], None] = probe
    sleep: Callable[[float], None] = time.sleep
    _told: float = float("-inf")

    def read(self, uri: str, max_bytes: int) -> bytes:
        """The bytes of a video.

        Raises:
            DecodeError: as `reading.read_once`; StorageFault where others are read meanwhile.
            StorageError: nothing is read any more.
        """
        return self.call(uri, lambda: read_once(uri, max_bytes))

    def call(self, uri: str, use: Callable[[], T]) -> T:
        """`use()`, a use of the storage of `uri`, which raises StorageFault where that fails."""
        tries = _Tries()
        while True:
            begun = time.monotonic()
            try:
                found = use()
            except StorageFault as error:
                if error.fault.attempts == 1:  # the object's own, an archived one say: others are not asked about it
                    raise
                tries = self._hold(uri, error, tries.another())
            else:
                self._tell(uri, begun, after_fault=tries.failed)
                return found

    def _hold(self, uri: str, error: StorageFault, tries: _Tries) -> _Tries:
        """Returns when to try again, and as the how-manieth time."""
        words, waited = told(error.fault, uri), tries.probing
        if tries.probing:
            order = self.breaker.probed(uri, words)
        else:
            order = self.breaker.failed(uri, words, tries.count, error.fault.attempts)
        while order.deed != "again":
            if order.deed == "give up":
                raise error
            if order.deed == "stop":
                raise StorageError(order.text)
            if order.deed == "probe" and not order.text:
                return _Tries(0, probing=True, failed=True)
            if order.deed == "probe":
                order = self.breaker.probed(uri, self._probed(order.text))
            else:
                self.sleep(_POLL_SECONDS)
                order, waited = self.breaker.waiting(), True
        if not waited:
            self.sleep(wait_after(tries.count))
        return _Tries(0 if waited else tries.count, failed=True)

    def _probed(self, uri: str) -> str | None:
        try:
            self.probe(uri)
        except StorageFault as error:
            return told(error.fault, uri)
        return None

    def _tell(self, uri: str, begun: float, *, after_fault: bool) -> None:
        now = time.monotonic()
        if after_fault or now - self._told > _TOLD_SECONDS:
            self._told = now
            self.breaker.worked(uri, now - begun)


def patience(limits: LimitsConfig, ledger: Any = None) -> Patience:
    """Patience of a reader of clips.

    Args:
        limits: how long a job waits.
        ledger: of `strikes`; None: this process knows what it reads itself.
    """
    return Patience(Remote(ledger, "reads") if ledger is not None else _own_breaker(limits.storage_seconds))


def unsparing_patience(limits: LimitsConfig, ledger: Any = None) -> Patience:
    """Patience of what nobody else can stand for, a shard to write say: it waits until the job stops."""
    return Patience(Remote(ledger, "writes") if ledger is not None else Breaker(limits.storage_seconds, spares=False))


@cache
def _own_breaker(seconds: float) -> Breaker:
    return Breaker(seconds)


def written(uri: str, write: Callable[[], T]) -> T:
    """`write()` to a root, its errors as those of the table.

    Raises:
        StorageFault: the storage failed.
        OSError: as it was raised, where no waiting helps.
    """
    try:
        return write()
    except OSError as error:
        fault = fault_of(error, local=is_local(uri))
        if fault.kind != "storage":
            raise
        raise StorageFault(fault, f"{fault.name}: cannot write {redacted(uri)}: {one_line(error)}") from error
