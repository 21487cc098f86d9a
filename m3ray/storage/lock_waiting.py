"""Waiting for another's lock: whether its owner lives, told by what it writes and never by two machines' clocks."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import psutil

from m3ray.errors import RootBusyError
from m3ray.storage.conditional_file import ConditionalFile, Version, conditional_file
from m3ray.storage.fence import Pace
from m3ray.storage.owner import Owner, Place, here
from m3ray.storage.root import Root

Tell = Callable[[str], None]

_OLDER = ("runs", "lock.json")
_OLDER_LEASE = 1.4  # of ours: older versions renewed theirs every 10 s, and took 35 s without a sign for death


def busy(root: Root, owner: Owner) -> RootBusyError:
    """The refusal, with whose the lock is and what to do."""
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(owner.since))
    return RootBusyError(
        f"{root.uri} is in use by {owner}, since {since}: wait for it or stop it; whose lock it is, and how to remove "
        f"it if its job is dead: python jobs/unlock.py --out {shlex.quote(root.uri)}"
    )


def waiting_line(owner: Owner, silent: float, left: float, then: str = "taken over") -> str:
    """What a waiting job says, seconds."""
    where = f"process {owner.place.pid} on {owner.place.host}, last sign {silent:.0f} s ago"
    return f"waiting for the lock of {owner.job} ({where}): {then} in {max(left, 0):.0f} s unless it gives a sign"


@dataclass(frozen=True)
class Watch:
    """Watches a lock file for signs of its owner.

    Args:
        root: that is locked.
        file: of the lock.
        lease: seconds without a sign after which the owner is dead.
        after: seconds that pass between its death and the start; for the lines.
        pace: of the lines.
        tell: takes them.
        then: what happens after the lease.
    """

    root: Root
    file: ConditionalFile
    lease: float
    after: float
    pace: Pace
    tell: Tell
    then: str = "taken over"

    def falls_silent(self, seen: Version, owner: Owner) -> bool:
        """Waits until the lease is over (True), or the lock was given back (False).

        Raises:
            RootBusyError: its owner, or another, gave a sign.
            OSError: the storage does not answer.
        """
        start, lines = time.monotonic(), 0
        while (silent := time.monotonic() - start) < self.lease:
            if silent >= lines * self.pace.line:
                lines += 1
                self.tell(waiting_line(owner, silent, self.lease + self.after - silent, self.then))
            time.sleep(min(1.0, self.lease / 25))
            found = self.file.read()
            if found is None or found.tag != seen.tag:
                self._refuse_if_held(found, owner)
                return False
        return True

    def _refuse_if_held(self, found: Version | None, before: Owner) -> None:
        owner = Owner.from_bytes(found.data) if found else None
        if owner is not None and not owner.released:
            # An older version's file reads as nobody's.
            raise busy(self.root, owner if owner.id else before)


def respect_older(root: Root, tell: Tell, pace: Pace) -> None:
    """Refuses while a job of an older version holds the root; removes what a dead one left.

    Raises:
        RootBusyError: it lives.
    """
    file = conditional_file(older_uri(root))
    seen = file.read()
    if seen is None:
        return
    owner = older_owner(seen)
    if older_runs(owner):
        raise busy(root, owner)
    # Host names may be equal in two containers: a process that is not seen here may live there.
    if Watch(root, file, older_lease(pace), 0.0, pace, tell).falls_silent(seen, owner):
        root.delete(*_OLDER)


def older_uri(root: Root) -> str:
    """Where versions before the locks by folder of work had their only one."""
    return root.display(*_OLDER)


def older_lease(pace: Pace) -> float:
    """Seconds without a sign after which an older version's job is dead."""
    return pace.lease * _OLDER_LEASE


def older_owner(seen: Version) -> Owner:
    """The owner that an older version's lock names."""
    try:
        found = json.loads(seen.data)
        place = Place(str(found["host"]), "", int(found["pid"]), "")
        since = float(found["since"])
        return replace(Owner(str(found["job"]), place), since=since, sign=since).or_unknown()
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return Owner.from_bytes(b"")


def older_runs(owner: Owner) -> bool:
    """Whether an older version's process is seen to run here: it started before it took the lock."""
    with suppress(psutil.Error):
        return owner.place.host == here().host and psutil.Process(owner.place.pid).create_time() <= owner.since + 1
    return False
