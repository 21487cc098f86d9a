"""The fencing token of a lock, which every process of a job checks before it commits."""

from __future__ import annotations

import time
from dataclasses import dataclass

from m3ray.errors import LostLockError
from m3ray.storage.conditional_file import open_conditional_file
from m3ray.storage.lock_owner import Owner


@dataclass(frozen=True)
class Pace:
    """How often a lock is renewed, and how long others wait for a renewal; all in seconds.

    An owner that died on another machine costs the next one `lease + settling`: after `lease` its lock is taken over,
    and within `settling` the last writes that its processes began arrive, since none of them begins another.

    Args:
        beat: time between two renewals, the heartbeat.
        lease: time without a renewal after which an owner counts as dead.
        fresh: largest age of the last check of the lock by which a commit may begin.
        write: longest time that a commit takes, from that check to the storage's answer.
        line: time between two lines to the user.
    """

    beat: float = 5.0
    lease: float = 25.0
    fresh: float = 5.0
    write: float = 15.0
    line: float = 5.0

    @property
    def settling(self) -> float:
        """Time after which no write that a dead owner began can still arrive, seconds."""
        return self.fresh + self.write


PACE = Pace()
_READS = 3
# By the id of an acquisition, in this process: when the lock was last confirmed, and why it was lost.
_confirmed: dict[str, float] = {}
_lost: dict[str, str] = {}


@dataclass(frozen=True)
class Fence:
    """The fencing token of one acquisition of a lock, to send to workers.

    `check()` costs one small read every few seconds a process.

    Args:
        uri: path or URI of the lock file.
        job: name of the job that acquired the lock.
        id: unique id of the acquisition.
        token: fencing token; a later acquisition has a larger one.
        pace: how often the lock is renewed.
    """

    uri: str
    job: str
    id: str
    token: int
    pace: Pace = PACE

    def check(self) -> None:
        """Check that the job still held the lock at most `pace.fresh` seconds ago, so that a commit may begin.

        Raises:
            LostLockError: If another job holds it, or it was removed; from then on always.
            OSError: If the storage does not answer in time; a later check may succeed, and the lock still be held.
        """
        if self.id in _lost:
            raise LostLockError(_lost[self.id])
        if time.monotonic() - _confirmed.get(self.id, -self.pace.fresh) < self.pace.fresh:
            return
        for _ in range(_READS):
            start = time.monotonic()
            self._read()
            if time.monotonic() - start < self.pace.fresh:
                # The state is as old as the request: the answer may have taken long.
                _confirmed[self.id] = start
                return
        raise TimeoutError(
            f"the lock of {self.job} at {self.uri} took more than {self.pace.fresh:.0f} s to read, {_READS} times in a "
            "row, too long to commit safely: check the storage and the network"
        )

    def _read(self) -> None:
        version = open_conditional_file(self.uri).read()
        owner = Owner.from_bytes(version.data) if version else None
        if owner is None or owner.id != self.id or owner.token != self.token or owner.released:
            self.mark_lost(owner)

    def mark_lost(self, owner: Owner | None) -> None:
        """Remember that the lock is lost, so that every later check fails.

        Args:
            owner: who holds it now; None if its file is gone.
        Raises:
            LostLockError: Always.
        """
        whose = "nobody, its file is gone" if owner is None else str(owner)
        if owner is not None and owner.released:
            whose = "nobody: it was released, or removed by jobs/unlock.py"
        _lost[self.id] = (
            f"lost the lock of {self.job} at {self.uri} to {whose}: this job stops; what it committed stays, start it "
            "again when the other is done"
        )
        _confirmed.pop(self.id, None)
        raise LostLockError(_lost[self.id])
