"""The proof that a job still holds its lock, which every process of it shows before it commits."""

from __future__ import annotations

import time
from dataclasses import dataclass

from m3ray.errors import LostLockError
from m3ray.storage.conditional_file import conditional_file
from m3ray.storage.owner import Owner


@dataclass(frozen=True)
class Pace:
    """How often a lock shows signs, and how long others wait for them, seconds.

    An owner that is dead elsewhere costs `lease + settling`: after `lease` its lock is taken, and in `settling` the
    last writes that its processes began arrive, for none of them begins another.

    Args:
        beat: between two renewals.
        lease: an owner without a sign for so long is taken for dead.
        fresh: the oldest knowledge of the lock that a commit may go by.
        write: a commit may take, from its check to the storage's answer.
        line: between two lines to the user.
    """

    beat: float = 5.0
    lease: float = 25.0
    fresh: float = 5.0
    write: float = 15.0
    line: float = 5.0

    @property
    def settling(self) -> float:
        return self.fresh + self.write


PACE = Pace()
_READS = 3
# Of this process, by the owner's id: when it last read its lock, and why it lost it.
_confirmed: dict[str, float] = {}
_lost: dict[str, str] = {}


@dataclass(frozen=True)
class Fence:
    """A taking of a lock, to send to workers: `check()` costs one small read every few seconds a process.

    Args:
        uri: of the lock file.
        job: that took the lock.
        id: of the taking.
        token: of the taking; a later one has a larger.
        pace: of the lock.
    """

    uri: str
    job: str
    id: str
    token: int
    pace: Pace = PACE

    def check(self) -> None:
        """Returns if this taking held the lock `pace.fresh` seconds ago or later. A commit may then begin.

        Raises:
            LostLockError: it is another's, or was removed. For good.
            OSError: the storage does not answer, or too late to go by. It may later, and the lock be ours still.
        """
        if self.id in _lost:
            raise LostLockError(_lost[self.id])
        if time.monotonic() - _confirmed.get(self.id, -self.pace.fresh) < self.pace.fresh:
            return
        for _ in range(_READS):
            asked = time.monotonic()
            self._read()
            if time.monotonic() - asked < self.pace.fresh:
                # As of the question: the answer may have been long on its way.
                _confirmed[self.id] = asked
                return
        raise TimeoutError(
            f"the lock of {self.job} at {self.uri} was read {_READS} times in more than {self.pace.fresh:.0f} s each, "
            "too late to commit by: check the storage and the network"
        )

    def _read(self) -> None:
        found = conditional_file(self.uri).read()
        owner = Owner.from_bytes(found.data) if found else None
        if owner is None or owner.id != self.id or owner.token != self.token or owner.released:
            self.lose(owner)

    def lose(self, owner: Owner | None) -> None:
        """Notes for good that the lock is `owner`'s, and raises.

        Raises:
            LostLockError: always.
        """
        whose = "nobody, its file is gone" if owner is None else str(owner)
        if owner is not None and owner.released:
            whose = "nobody: it was given back or removed by jobs/unlock.py"
        _lost[self.id] = (
            f"lost the lock of {self.job} at {self.uri} to {whose}: this job stops; what it committed stays, start it "
            "again when the other is done"
        )
        _confirmed.pop(self.id, None)
        raise LostLockError(_lost[self.id])
