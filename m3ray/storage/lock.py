"""Two jobs on one folder of work would undo each other: the second is refused, and told who the first is.

A lock is a small file that is only ever replaced on the condition that nobody else has replaced it. Its owner renews
it; one that dies elsewhere stops, and after a lease without a sign another takes over. Each taking has a larger token,
and whoever commits shows first that its own still stands (`Fence`): an owner that was taken for dead commits no more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from m3ray.errors import ConfigError, LostLockError
from m3ray.storage.conditional_file import ConditionalFile, conditional_file
from m3ray.storage.fence import PACE, Fence, Pace
from m3ray.storage.filesystems import is_local, one_line
from m3ray.storage.lock_waiting import Tell, Watch, busy, respect_older
from m3ray.storage.object_store import ChangedError
from m3ray.storage.owner import Owner, Place, here
from m3ray.storage.root import Root

STUDY, PREDICT = "study", "predict"
WORKS = (STUDY, PREDICT)  # what jobs touch: the root's tiers, study and models; the clips to predict
_TRIES = 20  # of taking a lock that others take and give back meanwhile
_held: set[str] = set()  # ids of this process's takings


class Lock:
    """A lock that this process holds; its fence goes to the workers.

    Args:
        uri: of its file.
        owner: what stands there.
        tag: of the version that does.
        pace: of its renewals.
    """

    def __init__(self, uri: str, owner: Owner, tag: str, pace: Pace) -> None:
        self.fence = Fence(uri, owner.job, owner.id, owner.token, pace)
        self._file, self._owner, self._tag, self._pace = conditional_file(uri), owner, tag, pace
        self._turn, self._stop = threading.Lock(), threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()

    @property
    def settled(self) -> bool:
        """Whether nobody before us can still be writing."""
        return self._owner.settled

    def renew(self, *, settled: bool = False) -> None:
        """Writes the next sign; `settled`: from now on nobody before us can be writing.

        Raises:
            LostLockError: the lock is another's.
            OSError: the storage failed.
        """
        with self._turn:
            settled = settled or self._owner.settled
            self._replace(replace(self._owner, beat=self._owner.beat + 1, sign=time.time(), settled=settled))

    def release(self) -> None:
        """Gives the lock back, if it is still ours."""
        self._stop.set()
        self._heart.join()
        with self._turn, suppress(LostLockError, OSError):
            self._replace(replace(self._owner, sign=time.time(), released=True))
        _held.discard(self._owner.id)

    def _replace(self, owner: Owner) -> None:
        for _ in range(_TRIES):
            try:
                self._tag, self._owner = put(self._file, owner, self._tag), owner
                return
            except ChangedError:
                found = self._file.read()
                standing = Owner.from_bytes(found.data) if found else None
                if found is None or standing is None or standing.id != owner.id or standing.released:
                    self.fence.lose(standing)
                else:  # a sign of ours that arrived after we had given it up
                    self._tag = found.tag
        raise OSError(f"{self.fence.uri} changes whenever it is looked at")

    def _beat(self) -> None:
        wait = self._pace.beat
        while not self._stop.wait(wait):
            try:
                self.renew()
                wait = self._pace.beat
            except LostLockError:  # whoever commits next learns of it
                return
            except OSError:
                wait = self._pace.beat / 5


def put(file: ConditionalFile, owner: Owner, expected: str | None) -> str:
    """As `file.replace`, and a write that arrived though its answer did not counts.

    Raises:
        ChangedError: another's was there.
        OSError: the storage failed.
    """
    data = owner.to_bytes()
    try:
        return file.replace(data, expected)
    except (ChangedError, OSError):
        found = file.read()
        if found is not None and found.data == data:
            return found.tag
        raise


@contextmanager
def locked(
    root: Root,
    job: str,
    *,
    work: str | None = None,
    tell: Tell | None = None,
    me: Place | None = None,
    pace: Pace = PACE,
) -> Iterator[Lock]:
    """Holds a folder of work of `root` for `job` while the block runs.

    A job that died on this machine is replaced at once; one that died elsewhere after a lease without a sign.

    Args:
        root: whose.
        job: its name, for those who wait.
        work: `study` or `predict`; None: predict's own for `predict`, else study's.
        tell: takes a line every few seconds of waiting.
        me: the process that holds it; None: this one.
        pace: of renewals and waiting.
    Raises:
        RootBusyError: another job holds it.
        ConfigError: the storage lets no lock be written.
    """
    work = work or (PREDICT if job == PREDICT else STUDY)
    tell = tell or (lambda line: None)
    try:
        respect_older(root, tell, pace)
        lock = _take(root, job, work, tell, me or here(), pace)
    except OSError as error:
        check = "the path and its rights" if is_local(root.uri) else "the name, the rights and the network"
        raise ConfigError(
            f"cannot write under {root.uri}: its lock {lock_uri(root, work)} cannot be taken ({one_line(error)}): "
            f"check {check}"
        ) from error
    try:
        _settle(lock, tell)
        yield lock
    finally:
        lock.release()


def lock_uri(root: Root, work: str) -> str:
    """Where the lock of a folder of work lies."""
    return root.display("runs", "locks", f"{work}.json")


def is_dead_here(owner: Owner, me: Place) -> bool | None:
    """Whether the owner died on this machine; None: it is elsewhere, and only its signs can tell."""
    if not owner.place.machine or owner.place.machine != me.machine:
        return None
    if owner.place.pid == me.pid and owner.place.started == me.started:
        return owner.id not in _held  # a taking of this process that it gave up
    return not owner.place.runs


def _take(root: Root, job: str, work: str, tell: Tell, me: Place, pace: Pace) -> Lock:
    uri = lock_uri(root, work)
    file = conditional_file(uri)
    for _ in range(_TRIES):
        seen = file.read()
        before = Owner.from_bytes(seen.data) if seen else None
        settled = before is None or before.settled
        if seen is not None and before is not None and not before.released:
            dead = is_dead_here(before, me)
            if dead is False:
                raise busy(root, before)
            if dead is None:
                if not Watch(root, file, pace.lease, pace.settling, pace, tell).falls_silent(seen, before):
                    continue
                settled = False
        mine = Owner(job, me, token=before.token + 1 if before else 1, settled=settled)
        with suppress(ChangedError), _noted(mine):  # another was faster: look again
            return Lock(uri, mine, put(file, mine, seen.tag if seen else None), pace)
    raise OSError("it changes whenever it is looked at")


@contextmanager
def _noted(mine: Owner) -> Iterator[None]:
    """Counts a taking as this process's before others can see it."""
    _held.add(mine.id)
    try:
        yield
    except BaseException:
        _held.discard(mine.id)
        raise


def _settle(lock: Lock, tell: Tell) -> None:
    """Waits until the last writes of an owner that was taken for dead have arrived."""
    if lock.settled:
        return
    end = time.monotonic() + lock.fence.pace.settling
    while (left := end - time.monotonic()) > 0:
        tell(f"took the lock; the last writes of its former owner may still arrive: starts in {left:.0f} s")
        time.sleep(min(left, lock.fence.pace.line))
    lock.renew(settled=True)
