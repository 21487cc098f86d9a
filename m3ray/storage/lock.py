"""Locks: two jobs in one folder would undo each other, so the second is rejected and told who the first is.

A lock is a small file that is replaced by compare-and-swap alone (in S3 a conditional PUT). Its owner renews it; if the
owner dies on another machine, the renewals stop, and after a lease without one another job takes the lock over. Each
acquisition has a larger fencing token, and whoever commits checks first that its own is still the current one
(`Fence`): an owner that was wrongly taken for dead commits no more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from m3ray.errors import ConfigError, LostLockError
from m3ray.storage.conditional_file import ConditionalFile, open_conditional_file
from m3ray.storage.fence import PACE, Fence, Pace
from m3ray.storage.filesystems import is_local, one_line
from m3ray.storage.lock_owner import Owner, ProcessIdentity, this_process
from m3ray.storage.lock_waiting import LockWatch, Tell, root_busy_error, wait_for_legacy_lock
from m3ray.storage.object_store import ChangedError
from m3ray.storage.root import Root

STUDY, PREDICT = "study", "predict"
WORKS = (STUDY, PREDICT)  # what a lock protects: the root's tiers, study and models; or the clips to predict
_MAX_TRIES = 20  # to acquire a lock that others acquire and release meanwhile
_held: set[str] = set()  # ids of this process's acquisitions


class Lock:
    """A lock that this process holds; its fencing token goes to the workers.

    Args:
        uri: path or URI of the lock file.
        owner: what the file says of this process.
        tag: entity tag of that version of the file.
        pace: how often the lock is renewed.
    """

    def __init__(self, uri: str, owner: Owner, tag: str, pace: Pace) -> None:
        self.fence = Fence(uri, owner.job, owner.id, owner.token, pace)
        self._file, self._owner, self._tag, self._pace = open_conditional_file(uri), owner, tag, pace
        self._turn, self._stop = threading.Lock(), threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()

    @property
    def settled(self) -> bool:
        """Whether no earlier owner can still be writing."""
        return self._owner.settled

    def renew(self, *, settled: bool = False) -> None:
        """Renew the lock.

        Args:
            settled: whether from now on no earlier owner can still be writing.
        Raises:
            LostLockError: If another job holds the lock.
            OSError: If the storage failed.
        """
        with self._turn:
            settled = settled or self._owner.settled
            self._replace(replace(self._owner, beat=self._owner.beat + 1, sign=time.time(), settled=settled))

    def release(self) -> None:
        """Release the lock, if this process still holds it."""
        self._stop.set()
        self._heart.join()
        with self._turn, suppress(LostLockError, OSError):
            self._replace(replace(self._owner, sign=time.time(), released=True))
        _held.discard(self._owner.id)

    def _replace(self, owner: Owner) -> None:
        for _ in range(_MAX_TRIES):
            try:
                self._tag, self._owner = write_owner(self._file, owner, self._tag), owner
                return
            except ChangedError:
                version = self._file.read()
                current = Owner.from_bytes(version.data) if version else None
                if version is None or current is None or current.id != owner.id or current.released:
                    self.fence.mark_lost(current)
                else:  # a renewal of ours arrived, though its answer timed out
                    self._tag = version.tag
        raise OSError(f"{self.fence.uri} changed during each of {_MAX_TRIES} attempts to replace it")

    def _beat(self) -> None:
        wait = self._pace.beat
        while not self._stop.wait(wait):
            try:
                self.renew()
                wait = self._pace.beat
            except LostLockError:  # the next commit will raise it
                return
            except OSError:
                wait = self._pace.beat / 5


def write_owner(file: ConditionalFile, owner: Owner, expected: str | None) -> str:
    """Replace a lock file, and recognise a write that arrived though its answer was lost.

    Args:
        file: the lock file.
        owner: what to write.
        expected: entity tag of the version to replace; None if there must be no file.
    Returns:
        Entity tag of the new version.
    Raises:
        ChangedError: If the file has another version.
        OSError: If the storage failed.
    """
    data = owner.to_bytes()
    try:
        return file.replace(data, expected)
    except (ChangedError, OSError):
        version = file.read()
        if version is not None and version.data == data:
            return version.tag
        raise


@contextmanager
def hold_lock(
    root: Root,
    job: str,
    *,
    work: str | None = None,
    tell: Tell | None = None,
    me: ProcessIdentity | None = None,
    pace: Pace = PACE,
) -> Iterator[Lock]:
    """Hold a lock of a root while the block runs.

    The lock of a job that died on this machine is taken over at once, that of one which died on another machine after a
    lease without a renewal.

    Args:
        root: root that the job works on.
        job: name of the job, for those who wait.
        work: what the lock protects, 'study' or 'predict'; None means 'predict' for the job of that name, else 'study'.
        tell: called with a line every few seconds of waiting; None for silence.
        me: process that holds the lock; None for this one.
        pace: how often the lock is renewed, and how long a renewal is waited for.
    Yields:
        The lock.
    Raises:
        RootBusyError: If another job holds it.
        ConfigError: If no lock can be written there.
    """
    work = work or (PREDICT if job == PREDICT else STUDY)
    tell = tell or (lambda line: None)
    try:
        wait_for_legacy_lock(root, tell, pace)
        lock = _acquire(root, job, work, tell, me or this_process(), pace)
    except OSError as error:
        check = "the path and its rights" if is_local(root.uri) else "the name, the rights and the network"
        raise ConfigError(
            f"cannot write under {root.uri}: its lock {lock_uri(root, work)} cannot be acquired ({one_line(error)}): "
            f"check {check}"
        ) from error
    try:
        _wait_until_settled(lock, tell)
        yield lock
    finally:
        lock.release()


def lock_uri(root: Root, work: str) -> str:
    """Path or URI of a lock file.

    Args:
        root: root that it protects.
        work: what it protects, 'study' or 'predict'.
    Returns:
        `<root>/runs/locks/<work>.json`.
    """
    return root.display("runs", "locks", f"{work}.json")


def is_dead_here(owner: Owner, me: ProcessIdentity) -> bool | None:
    """Tell whether the owner of a lock died on this machine.

    Args:
        owner: owner of the lock.
        me: process that wants the lock.
    Returns:
        Whether it is dead; None if it runs on another machine, where its renewals alone can tell.
    """
    if not owner.place.machine or owner.place.machine != me.machine:
        return None
    if owner.place.pid == me.pid and owner.place.started == me.started:
        return owner.id not in _held  # an acquisition that this process has given up
    return not owner.place.is_running


def _acquire(root: Root, job: str, work: str, tell: Tell, me: ProcessIdentity, pace: Pace) -> Lock:
    uri = lock_uri(root, work)
    file = open_conditional_file(uri)
    for _ in range(_MAX_TRIES):
        seen = file.read()
        before = Owner.from_bytes(seen.data) if seen else None
        settled = before is None or before.settled
        if seen is not None and before is not None and not before.released:
            dead = is_dead_here(before, me)
            if dead is False:
                raise root_busy_error(root, before)
            if dead is None:
                if not LockWatch(root, file, pace.lease, pace.settling, pace, tell).wait_for_silence(seen, before):
                    continue
                settled = False
        mine = Owner(job, me, token=before.token + 1 if before else 1, settled=settled)
        with suppress(ChangedError), _mark_held(mine):  # another job was faster: read the file again
            return Lock(uri, mine, write_owner(file, mine, seen.tag if seen else None), pace)
    raise OSError(f"it changed during each of {_MAX_TRIES} attempts")


@contextmanager
def _mark_held(mine: Owner) -> Iterator[None]:
    """Count an acquisition as this process's before others can see it."""
    _held.add(mine.id)
    try:
        yield
    except BaseException:
        _held.discard(mine.id)
        raise


def _wait_until_settled(lock: Lock, tell: Tell) -> None:
    """Wait until the last writes of an owner that was taken for dead have arrived.

    Writes of features are no compare-and-swap, and S3 checks no fencing token: there is nothing but time to wait for.
    """
    if lock.settled:
        return
    end = time.monotonic() + lock.fence.pace.settling
    while (left := end - time.monotonic()) > 0:
        tell(f"acquired the lock; the last writes of its former owner may still arrive: starts in {left:.0f} s")
        time.sleep(min(left, lock.fence.pace.line))
    lock.renew(settled=True)
