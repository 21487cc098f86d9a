"""What a worker process does before its first clip: take on the job's access to storage, check its own rights, and
see no GPU that is another's.

Both travel with the data, in Ray Data's context, whoever started Ray, and to nodes that come while the job runs.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Protocol

import ray

from m3ray.pipelines.runtime.assigned_gpus import hide_gpus
from m3ray.storage.schemes import read_access_environment

if TYPE_CHECKING:
    from ray.data import DataContext

_ENVIRONMENT, _CHECK, _READABLE = "m3ray_environment", "m3ray_check", "m3ray_readable"


class LateCheck(Protocol):
    """A check of a node that was not there when the job began; hashable, of one job."""

    def run(self) -> None:
        """Check the node that this process runs on.

        Raises:
            StorageError: If this node may not do what the job needs.
        """
        ...


def send_environment() -> None:
    """Give workers the access to storage that this process has, and drop what an earlier job sent."""
    context = _get_context()
    context.set_config(_ENVIRONMENT, read_access_environment())
    context.remove_config(_CHECK)
    context.remove_config(_READABLE)


def send_check(check: LateCheck) -> None:
    """Let workers of nodes that come later run a check.

    Args:
        check: check that each worker process runs once.
    """
    _get_context().set_config(_CHECK, check)


def set_readable_clip(uri: str) -> None:
    """Set the clip that workers read again to find out whether the storage answers at all.

    Args:
        uri: path or URI of a clip that a worker has read.
    """
    _get_context().set_config(_READABLE, uri)


def get_readable_clip() -> str:
    """The clip that was set last; empty if none was."""
    return _get_context().get_config(_READABLE, "")


def enter_worker() -> None:
    """Prepare this process for reading and writing; each stage that does so calls it, wherever it runs.

    Raises:
        StorageError: If this node came after the job's start and may not read or write what the job needs.
    """
    hide_gpus()
    context = _get_context()
    os.environ.update(context.get_config(_ENVIRONMENT, {}))
    check = context.get_config(_CHECK)
    if check is not None and ray.is_initialized():
        _run_check(check)


def _get_context() -> DataContext:
    from ray.data import DataContext  # late: the ledger imports this module and never uses Ray Data

    return DataContext.get_current()


@cache
def _run_check(check: LateCheck) -> None:
    check.run()
