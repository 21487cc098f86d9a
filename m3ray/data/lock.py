"""Two jobs on one root would undo each other: the second is refused, and told who the first is."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from m3ray.data.store import Root
from m3ray.errors import RootBusyError

_NAME = ("runs", "lock.json")
_BEAT_SECONDS = 10.0
# A job elsewhere that has not renewed its lock for this long is taken for dead.
_STALE_SECONDS = 60.0


@contextmanager
def locked(root: Root, job: str) -> Iterator[None]:
    """Holds `root` for `job` while the block runs.

    Raises:
        RootBusyError: another job holds it.
    """
    _refuse_if_held(root)
    owner = {"job": job, "host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
    root.write_json({**owner, "beat": time.time()}, *_NAME)
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(root, owner, stop), daemon=True)
    heart.start()
    try:
        yield
    finally:
        stop.set()
        heart.join()
        with suppress(OSError):
            root.delete(*_NAME)


def _refuse_if_held(root: Root) -> None:
    if not root.exists(*_NAME):
        return
    try:
        owner = root.read_json(*_NAME)
    except (OSError, json.JSONDecodeError):
        return
    if _alive(owner):
        raise RootBusyError(
            f"{root.uri} is in use by {owner['job']} (process {owner['pid']} on {owner['host']}): wait for it or stop "
            f"it; if it is dead, delete {root.display(*_NAME)}"
        )


def _alive(owner: dict[str, Any]) -> bool:
    if owner["host"] == socket.gethostname():
        # A recycled process id belongs to a process that started after the lock was taken.
        with suppress(psutil.Error):
            return psutil.Process(owner["pid"]).create_time() <= owner["since"] + 1
        return False
    return time.time() - owner["beat"] < _STALE_SECONDS


def _beat(root: Root, owner: dict[str, Any], stop: threading.Event) -> None:
    while not stop.wait(_BEAT_SECONDS):
        with suppress(OSError):
            root.write_json({**owner, "beat": time.time()}, *_NAME)
