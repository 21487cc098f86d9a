"""Waiting for a lock: whether its owner lives shows in its renewals, never in a comparison of two machines' clocks."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import psutil

from m3ray.errors import RootBusyError
from m3ray.storage.conditional_file import ConditionalFile, Version, open_conditional_file
from m3ray.storage.fence import Pace
from m3ray.storage.lock_owner import Owner, ProcessIdentity, this_process
from m3ray.storage.root import Root

Tell = Callable[[str], None]

_LEGACY_LOCK = ("runs", "lock.json")
# In leases of ours: older versions renewed their lock every 10 s, and took an owner for dead after 35 s.
_LEGACY_LEASES = 1.4


def root_busy_error(root: Root, owner: Owner) -> RootBusyError:
    """Make the error that says whose a lock is and what to do.

    Args:
        root: root that is locked.
        owner: owner of the lock.
    Returns:
        The error to raise.
    """
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(owner.since))
    return RootBusyError(
        f"{root.uri} is in use by {owner}, since {since}: wait for it or stop it; whose lock it is, and how to remove "
        f"it if its job is dead: python jobs/unlock.py --out {shlex.quote(root.uri)}"
    )


def describe_wait(owner: Owner, silent: float, left: float, then: str = "taken over") -> str:
    """Line that a waiting job prints.

    Args:
        owner: owner of the lock.
        silent: time since its last renewal was seen, seconds.
        left: time until the lock is taken over, seconds.
        then: what happens to the lock then.
    Returns:
        The line.
    """
    process = f"process {owner.place.pid} on {owner.place.host}, last renewal {silent:.0f} s ago"
    return f"waiting for the lock of {owner.job} ({process}): {then} in {max(left, 0):.0f} s unless it is renewed"


@dataclass(frozen=True)
class LockWatch:
    """A watch on a lock file for renewals by its owner.

    Args:
        root: root that is locked.
        file: the lock file.
        lease: time without a renewal after which the owner counts as dead, seconds.
        after: time that passes between that and the start of the job, for the lines, seconds.
        pace: how often a line is printed.
        tell: called with each line.
        then: what happens to the lock after the lease, for the lines.
    """

    root: Root
    file: ConditionalFile
    lease: float
    after: float
    pace: Pace
    tell: Tell
    then: str = "taken over"

    def wait_for_silence(self, seen: Version, owner: Owner) -> bool:
        """Wait for a lease without a renewal.

        Args:
            seen: version of the lock file that was read.
            owner: owner that it names.
        Returns:
            True once the lease is over; False if the lock was released meanwhile.
        Raises:
            RootBusyError: If its owner renewed it, or another job acquired it.
            OSError: If the storage does not answer.
        """
        start, lines = time.monotonic(), 0
        while (silent := time.monotonic() - start) < self.lease:
            if silent >= lines * self.pace.line:
                lines += 1
                self.tell(describe_wait(owner, silent, self.lease + self.after - silent, self.then))
            time.sleep(min(1.0, self.lease / 25))
            current = self.file.read()
            if current is None or current.tag != seen.tag:
                self._check_released(current, owner)
                return False
        return True

    def _check_released(self, current: Version | None, before: Owner) -> None:
        owner = Owner.from_bytes(current.data) if current else None
        if owner is not None and not owner.released:
            # The lock file of an older version reads as one of an unknown owner.
            raise root_busy_error(self.root, owner if owner.id else before)


def wait_for_legacy_lock(root: Root, tell: Tell, pace: Pace) -> None:
    """Wait for the lock of a job of an older version, and remove it if that job is dead.

    Args:
        root: root that it may hold.
        tell: called with a line every few seconds of waiting.
        pace: how often a line is printed, and how long a renewal is waited for.
    Raises:
        RootBusyError: If that job lives.
    """
    file = open_conditional_file(legacy_lock_uri(root))
    seen = file.read()
    if seen is None:
        return
    owner = parse_legacy_owner(seen)
    if is_legacy_owner_running(owner):
        raise root_busy_error(root, owner)
    # Two containers may have the same host name: a process that does not run here may run there.
    if LockWatch(root, file, legacy_lease(pace), 0.0, pace, tell).wait_for_silence(seen, owner):
        root.delete(*_LEGACY_LOCK)


def legacy_lock_uri(root: Root) -> str:
    """Path or URI of the only lock that older versions had.

    Args:
        root: root that it protects.
    Returns:
        `<root>/runs/lock.json`.
    """
    return root.display(*_LEGACY_LOCK)


def legacy_lease(pace: Pace) -> float:
    """Time without a renewal after which an older version's job counts as dead.

    Args:
        pace: how often locks are renewed.
    Returns:
        The time in seconds.
    """
    return pace.lease * _LEGACY_LEASES


def parse_legacy_owner(seen: Version) -> Owner:
    """Read the owner out of an older version's lock file.

    Args:
        seen: version of the file that was read.
    Returns:
        The owner; an unknown one if the file is no lock.
    """
    try:
        values = json.loads(seen.data)
        place = ProcessIdentity(str(values["host"]), "", int(values["pid"]), "")
        since = float(values["since"])
        return replace(Owner(str(values["job"]), place), since=since, sign=since).or_unknown()
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return Owner.from_bytes(b"")


def is_legacy_owner_running(owner: Owner) -> bool:
    """Tell whether the owner of an older version's lock runs on this machine.

    Args:
        owner: owner of the lock.
    Returns:
        Whether a process of its number runs here that started before the lock was acquired.
    """
    if owner.place.host != this_process().host:
        return False
    with suppress(psutil.Error):
        return psutil.Process(owner.place.pid).create_time() <= owner.since + 1
    return False
