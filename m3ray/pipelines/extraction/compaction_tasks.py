"""Compaction in Ray tasks: a group of shards each, as many at once as the nodes' CPUs and memory hold."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import ray
from ray.exceptions import RayTaskError

from m3ray.pipelines.runtime.assigned_gpus import hide_gpus
from m3ray.storage.schemes import read_access_environment

A = TypeVar("A")
B = TypeVar("B")

# Fewer are for the driver: tasks take two seconds to start, and of two merges the second one is often small.
_FEWEST_ITEMS = 3
# A merge of 190 MB of Parquet, the largest there is, was seen to take 0.9 to 1.6 GiB.
_TASK_BYTES = 2 << 30
# Of processes that die: a node that goes takes its tasks with it.
_RETRIES = 5
# For what still runs when one has failed: no longer than a merge takes.
_END_SECONDS = 60.0


def run_in_tasks(function: Callable[[A], B], items: Sequence[A]) -> Iterable[B]:
    """Call a function of each item in tasks; in this process where there are few items, or no Ray to run tasks.

    A call whose process dies is made again, so the function must bear that. When one fails, no other is begun, and the
    error comes after those that run have ended: nothing commits behind the back of a job that has stopped.

    Args:
        function: Called of each item.
        items: What it is called of.
    Returns:
        The results, in any order.
    Raises:
        Exception: Whatever a call raised.
    """
    slots = count_slots(ray.nodes()) if len(items) >= _FEWEST_ITEMS and ray.is_initialized() else 0
    return map(function, items) if slots < 2 else _run_tasks(function, items, slots)


def count_slots(nodes: Iterable[Mapping[str, Any]]) -> int:
    """Count the tasks that run at once: no more are asked for, since an autoscaler would start nodes for them.

    Args:
        nodes: What `ray.nodes()` returns.
    Returns:
        A CPU and the memory of a merge each, on nodes that live.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return sum(int(min(found.get("CPU", 0), found.get("memory", 0) // _TASK_BYTES)) for found in alive)


def _run_tasks(function: Callable[[A], B], items: Sequence[A], slots: int) -> Iterator[B]:
    task = ray.remote(num_cpus=1, memory=_TASK_BYTES, max_retries=_RETRIES)(_call)
    starts = (task.remote(function, item, read_access_environment()) for item in items)
    pending = list(itertools.islice(starts, slots))
    try:
        while pending:
            done, pending = ray.wait(pending)
            yield from map(_fetch, done)
            pending += itertools.islice(starts, len(done))
    finally:
        if pending:
            ray.wait(pending, num_returns=len(pending), timeout=_END_SECONDS)


def _call(function: Callable[[A], B], item: A, environment: Mapping[str, str]) -> B:
    hide_gpus()
    os.environ.update(environment)
    return function(item)


def _fetch(ref: ray.ObjectRef) -> Any:
    """The result of a task; what it raised is raised as the driver would have met it."""
    try:
        return ray.get(ref)
    except RayTaskError as error:
        raise error.cause if isinstance(error.cause, Exception) else error from error
