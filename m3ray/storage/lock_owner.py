"""The owner of a lock: its process, where that runs, its last renewal; and whether the process still runs."""

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

_MAX_PID = 2**31 - 1  # the largest that system calls accept
_YEAR_10000 = 253402300800  # seconds since 1970


@dataclass(frozen=True)
class ProcessIdentity:
    """What identifies a process among all machines, containers and reboots.

    Args:
        host: host name, which people know; two containers may share it.
        machine: boot of the kernel and process namespace, within which process numbers are unique.
        pid: process number.
        started: start of the process on the kernel's own clock; a process that reuses the number started later.
    """

    host: str
    machine: str
    pid: int
    started: str

    @property
    def is_possible(self) -> bool:
        """Whether a process can have these values: they may come from a file that anything has written."""
        has_texts = all(isinstance(text, str) for text in (self.machine, self.started))
        return has_texts and _is_name(self.host) and _is_count(self.pid, 0, _MAX_PID)

    @property
    def is_running(self) -> bool:
        """Whether the process runs; only meaningful on its own machine."""
        return _is_pid_running(self.pid) and read_start_time(self.pid) in (self.started, "")


@dataclass(frozen=True)
class Owner:
    """The owner of a lock, as the lock file holds it (its JSON keys are the names of the fields).

    Args:
        job: name of the job that acquired the lock.
        place: identity of its process.
        id: unique id of the acquisition.
        token: fencing token: of two owners the later has the larger, whoever released the lock in between.
        since: time of the acquisition, seconds since 1970 on the owner's clock; shown to people alone.
        sign: time of the last renewal, seconds since 1970 on the owner's clock; shown to people alone.
        beat: number of renewals: who waits sees it change, and needs no clock but its own.
        settled: whether no earlier owner can still be writing.
        released: whether the owner released the lock; the file stays, to keep the token.
    """

    job: str
    place: ProcessIdentity
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
        """Bytes of the lock file."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> Owner:
        """Read an owner out of a lock file.

        Args:
            data: bytes of the file.
        Returns:
            The owner; an unknown one if `to_bytes` did not write the file, which is dead if the file stays unchanged.
        """
        try:
            values = json.loads(data)
            values["place"] = ProcessIdentity(**values["place"])
            return cls(**{name: values[name] for name in (f.name for f in fields(cls))}).or_unknown()
        except (ValueError, TypeError, KeyError, RecursionError):
            return _UNKNOWN

    def or_unknown(self) -> Owner:
        """Return this owner if a job can have written its values, which are calculated with and shown.

        Returns:
            This owner, else the unknown one.
        """
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
    """Whether a value is a time that can be written as a date; NaN is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _YEAR_10000


# It may be the last write of any owner, so it is not settled.
_UNKNOWN = Owner("an unreadable lock", ProcessIdentity("unknown", "", 0, ""), id="", since=0.0, sign=0.0, settled=False)


def this_process() -> ProcessIdentity:
    """Identity of this process."""
    return ProcessIdentity(socket.gethostname(), this_machine(), os.getpid(), read_start_time(os.getpid()))


@cache
def this_machine() -> str:
    """Boot of this kernel and process namespace, equal for two processes only if they see each other."""
    if sys.platform != "linux":
        return f"{socket.gethostname()} {uuid.getnode():x}"
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        # A sandbox that hides both could look like any other: no process counts as near, a lease alone tells.
        return uuid.uuid4().hex


def read_start_time(pid: int) -> str:
    """Read when a process started.

    Args:
        pid: process number on this machine.
    Returns:
        The time on the kernel's own clock; "" if there is no such process or it may not be seen.
    """
    try:
        if sys.platform == "linux":
            # The 22nd field is in ticks since boot, which setting the clock does not change. The name in the second
            # field may hold blanks and parentheses.
            return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
        return f"{psutil.Process(pid).create_time():.0f}"
    except (OSError, IndexError, psutil.Error):
        return ""


def _is_pid_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return psutil.pid_exists(pid)  # other users' processes may be hidden from /proc, not from this
    except psutil.Error:
        return True
