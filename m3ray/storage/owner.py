"""Who holds a lock: the process, where it runs, its last sign; and whether that process still runs."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import uuid
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path

import psutil

_LARGEST_PID = 2**31 - 1  # what the system's calls take
_YEAR_10000 = 253402300800  # seconds since 1970


@dataclass(frozen=True)
class Place:
    """A process among all machines, containers and reboots.

    Args:
        host: the name that people know; two containers may share it.
        machine: where process numbers mean the same: this boot of the kernel, this process namespace.
        pid: process number there.
        started: the process's start, on the kernel's own clock; a recycled number started later.
    """

    host: str
    machine: str
    pid: int
    started: str

    @property
    def is_possible(self) -> bool:
        """Whether its values are such as a process has: they may come from a file that anything has written."""
        words = all(isinstance(word, str) for word in (self.machine, self.started))
        return words and _is_name(self.host) and _is_count(self.pid, 0, _LARGEST_PID)

    @property
    def runs(self) -> bool:
        """Whether the process runs; asked on its own machine alone."""
        return _runs(self.pid) and start_of(self.pid) in (self.started, "")


@dataclass(frozen=True)
class Owner:
    """What stands in a lock file.

    Args:
        job: that took the lock.
        place: its process.
        id: of this taking.
        token: counts takings of the lock, never back: of two owners the later has the larger.
        since: when it was taken, seconds since 1970 on the owner's clock; for people.
        sign: of the last renewal, likewise.
        beat: counts renewals: who waits watches it change, and needs no clock but its own.
        settled: whether nobody before this owner can still be writing.
        released: given back; the file stays, for the token.
    """

    job: str
    place: Place
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    token: int = 1
    since: float = field(default_factory=time.time)
    sign: float = field(default_factory=time.time)
    beat: int = 0
    settled: bool = True
    released: bool = False

    def __str__(self) -> str:
        return f"{self.job} (process {self.place.pid} on {self.place.host})"

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), indent=1).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> Owner:
        """What `to_bytes` wrote. Anything else is an owner that nobody knows: dead when the file stays unchanged."""
        try:
            found = json.loads(data)
            found["place"] = Place(**found["place"])
            return cls(**{name: found[name] for name in (f.name for f in fields(cls))}).or_unknown()
        except (ValueError, TypeError, KeyError, RecursionError):
            return _UNKNOWN

    def or_unknown(self) -> Owner:
        """This owner, if its values can be what a job wrote: they are compared, added to and shown."""
        return self if self.place.is_possible and self._is_possible else _UNKNOWN

    @property
    def _is_possible(self) -> bool:
        return (
            _is_name(self.job)
            and isinstance(self.id, str)
            and _is_count(self.token, 1)
            and _is_count(self.beat, 0)
            and all(map(_is_time, (self.since, self.sign)))
            and all(isinstance(flag, bool) for flag in (self.settled, self.released))
        )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_count(value: object, least: int, most: int = 2**62) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_time(value: object) -> bool:
    """Whether it is a time that can be written as a date; not a number is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _YEAR_10000


# It may be anyone's last write: not settled.
_UNKNOWN = Owner("an unreadable lock", Place("unknown", "", 0, ""), id="", since=0.0, sign=0.0, settled=False)


def here() -> Place:
    """This process."""
    return Place(socket.gethostname(), machine(), os.getpid(), start_of(os.getpid()))


@cache
def machine() -> str:
    """This boot of this kernel and this process namespace: equal for two processes only if they see each other."""
    if sys.platform != "linux":
        return f"{socket.gethostname()} {uuid.getnode():x}"
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        # A sandbox that hides both may look like any other: nobody is near, and only a lease tells who is dead.
        return uuid.uuid4().hex


def start_of(pid: int) -> str:
    """When a process started, "" where that cannot be seen (or there is no such process)."""
    try:
        if sys.platform == "linux":
            # Ticks since boot, the 22nd field: setting the clock does not move them. A name may hold blanks and ).
            return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
        return f"{psutil.Process(pid).create_time():.0f}"
    except (OSError, IndexError, psutil.Error):
        return ""


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return psutil.pid_exists(pid)  # other users' processes may be hidden from /proc, not from this
    except psutil.Error:
        return True
