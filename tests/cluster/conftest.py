"""Clusters that `ray start` makes for a test, and their end: no process of theirs stays."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import uuid
from collections.abc import Iterator

import psutil
import pytest
from ray.util import get_node_ip_address

MARK = "M3RAY_TEST_CLUSTER"


@pytest.fixture(scope="module")
def ray_folder() -> Iterator[str]:
    """A folder for `ray start --temp-dir`, asked for before the environment below, as it outlives its processes.

    Not one of pytest's, whose names grow with the process and with every run on the machine: Ray's sockets lie 62
    bytes below it, and their paths may have 107.
    """
    with tempfile.TemporaryDirectory(prefix="m3ray-", ignore_cleanup_errors=True) as folder:
        yield folder


@pytest.fixture(scope="module")
def ray_address() -> str:
    """An address for `ray start --port`: with `auto`, clients may find another Ray of this machine."""
    with socket.create_server(("", 0)) as taken:
        return f"{get_node_ip_address()}:{taken.getsockname()[1]}"


@pytest.fixture(scope="module")
def marked_environment() -> Iterator[dict[str, str]]:
    """An environment whose every process, whoever started it, is killed at the end with its children.

    Agents outlive their raylet for a while, on ports that the next cluster wants; their environment cannot be read
    once they have changed their titles.
    """
    mark = uuid.uuid4().hex
    yield {**os.environ, MARK: mark}
    marked = {family for process in psutil.process_iter() if _bears(process, mark) for family in _family(process)}
    for process in marked:
        with contextlib.suppress(psutil.Error):
            process.kill()
    _, alive = psutil.wait_procs(list(marked), timeout=10)
    assert not alive


def _family(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return [process, *process.children(recursive=True)]
    return [process]


def _bears(process: psutil.Process, mark: str) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ().get(MARK) == mark
    return False
