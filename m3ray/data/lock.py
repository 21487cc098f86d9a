"""Two jobs on one root would undo each other: the second is refused, and told who the first is."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
from pyarrow import fs as pafs

from m3ray.data.store import Root
from m3ray.errors import RootBusyError

_NAME = ("runs", "lock.json")
_SAID = {"job", "host", "pid", "since"}
_BEAT_SECONDS = 10.0
# A job elsewhere that has not renewed its lock for this long is taken for dead. We watch it for that long and compare
# it with itself: the clocks of two machines may differ.
_STALE_SECONDS = 35.0
# Between writing a lock and reading it back: of two jobs that write within this time, the last one holds it.
_SETTLE_LOCAL, _SETTLE_REMOTE = 0.2, 2.0


@contextmanager
def locked(root: Root, job: str) -> Iterator[None]:
    """Holds `root` for `job` while the block runs.

    A job that died on this machine is replaced at once; one that died elsewhere after half a minute without a sign.

    Raises:
        RootBusyError: another job holds it.
    """
    _wait_if_held(root)
    owner = {"job": job, "host": socket.gethostname(), "pid": os.getpid(), "since": time.time(), "id": uuid.uuid4().hex}
    _take(root, owner)
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(root, owner, stop), daemon=True)
    heart.start()
    try:
        yield
    finally:
        stop.set()
        heart.join()
        with suppress(OSError):
            if _is(_holder(root), owner):
                root.delete(*_NAME)


def _is(holder: dict[str, Any] | None, owner: dict[str, Any]) -> bool:
    return holder is not None and holder.get("id") == owner["id"]


def _take(root: Root, owner: dict[str, Any]) -> None:
    root.write_json({**owner, "beat": 0}, *_NAME)
    time.sleep(_SETTLE_LOCAL if isinstance(root.fs, pafs.LocalFileSystem) else _SETTLE_REMOTE)
    holder = _holder(root)
    if holder is not None and not _is(holder, owner):
        raise _busy(root, holder)


def _wait_if_held(root: Root) -> None:
    holder = _holder(root)
    if holder is None:
        return
    if holder["host"] == socket.gethostname():
        if _runs_here(holder):
            raise _busy(root, holder)
        return
    deadline = time.monotonic() + _STALE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(min(1.0, _STALE_SECONDS / 4))
        now = _holder(root)
        if now is None:
            return
        if now != holder:
            raise _busy(root, now)


def _holder(root: Root) -> dict[str, Any] | None:
    if not root.exists(*_NAME):
        return None
    try:
        found = root.read_json(*_NAME)
    except (OSError, ValueError):  # deleted in between, or cut short by a full disk
        return None
    return found if isinstance(found, dict) and set(found) >= _SAID else None


def _busy(root: Root, holder: dict[str, Any]) -> RootBusyError:
    return RootBusyError(
        f"{root.uri} is in use by {holder['job']} (process {holder['pid']} on {holder['host']}): wait for it or stop "
        f"it; if it is dead, delete {root.display(*_NAME)}"
    )


def _runs_here(holder: dict[str, Any]) -> bool:
    # A recycled process id belongs to a process that started after the lock was taken.
    with suppress(psutil.Error):
        return psutil.Process(holder["pid"]).create_time() <= holder["since"] + 1
    return False


def _beat(root: Root, owner: dict[str, Any], stop: threading.Event) -> None:
    beat = 0
    while not stop.wait(_BEAT_SECONDS):
        beat += 1
        with suppress(OSError):
            if _is(_holder(root), owner):
                root.write_json({**owner, "beat": beat}, *_NAME)
