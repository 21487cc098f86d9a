"""Locks that tests leave behind, as another job would."""

from m3ray.storage.fence import Pace
from m3ray.storage.lock_owner import Owner, ProcessIdentity
from m3ray.storage.root import Root

# Twelve times the real one; faster, and a busy machine would look dead.
QUICK = Pace(beat=0.2, lease=2.0, fresh=0.5, write=0.3, line=0.5)
FILE = ("runs", "locks", "study.json")
DEEP = [b"[" * 200_000, b'{"job":' * 100_000]  # more than Python's parser descends


def elsewhere(name: str, host: str = "elsewhere") -> ProcessIdentity:
    """A process of another machine or container."""
    return ProcessIdentity(host, name, 7, "1")


def leave_lock(owner: Owner, root: Root) -> None:
    root.write_bytes(owner.to_bytes(), *FILE)


def read_lock(root: Root) -> Owner:
    return Owner.from_bytes(root.read_bytes(*FILE))


def leave_legacy_lock(root: Root, **changed) -> dict:
    """The lock of a job of an older version."""
    lock = {"job": "extract", "host": "elsewhere", "pid": 1, "since": 0.0, "id": "x", "beat": 1} | changed
    root.write_json(lock, "runs", "lock.json")
    return lock
