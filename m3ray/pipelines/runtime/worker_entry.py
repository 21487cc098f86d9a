"""What a worker process does before its first clip: takes on the job's access to storage, and tries its own rights.

Both travel with the data, in Ray Data's context, whoever started Ray, and to nodes that come while the job runs.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Protocol

import ray
import ray.data

from m3ray.storage.schemes import access_environment

_ENVIRONMENT, _CHECK, _READABLE = "m3ray_environment", "m3ray_check", "m3ray_readable"


class LaterCheck(Protocol):
    """A check of a node that was not there when the job began; hashable, of one job."""

    def at_first_use(self) -> None: ...


def send_environment() -> None:
    """Lets workers have the access to storage that this process has; no check of an earlier job is left."""
    context = ray.data.DataContext.get_current()
    context.set_config(_ENVIRONMENT, access_environment())
    context.remove_config(_CHECK)
    context.remove_config(_READABLE)


def send_check(check: LaterCheck) -> None:
    """Lets workers of nodes that come later make a check."""
    ray.data.DataContext.get_current().set_config(_CHECK, check)


def note_readable(uri: str) -> None:
    """Notes a clip that a worker has read: asked for again, it tells whether the storage answers at all."""
    ray.data.DataContext.get_current().set_config(_READABLE, uri)


def readable_clip() -> str:
    """The clip noted last; empty where none is."""
    return ray.data.DataContext.get_current().get_config(_READABLE, "")


def enter_worker() -> None:
    """Called by each stage that reads or writes, in whichever process it runs.

    Raises:
        StorageError: this node came after the job's start, and may not read or write what the job needs.
    """
    context = ray.data.DataContext.get_current()
    os.environ.update(context.get_config(_ENVIRONMENT, {}))
    check = context.get_config(_CHECK)
    if check is not None and ray.is_initialized():
        _checked(check)


@cache
def _checked(check: LaterCheck) -> None:
    check.at_first_use()
