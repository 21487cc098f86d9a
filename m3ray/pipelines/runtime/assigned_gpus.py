"""Which GPUs Ray gave this process, and that it sees no others; without PyTorch, which many processes do not need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def hide_gpus() -> None:
    """Hide all GPUs from this process unless Ray gave it one; before PyTorch looks for them."""
    if ray.is_initialized() and not assigned_gpus():
        os.environ[_VISIBLE] = ""


@contextmanager
def hide_gpus_of_driver() -> Iterator[None]:
    """Hide all GPUs from this process for the length of the block: Ray gives a driver none, and hands them to tasks.

    Workers do not inherit it: Ray has started what starts them.

    Yields:
        Once, to the block; the variable is as before at its end.
    """
    before = os.environ.get(_VISIBLE)
    hide_gpus()
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_VISIBLE, None)
        else:
            os.environ[_VISIBLE] = before


def assigned_gpus() -> list[str]:
    """Ids of the GPUs that Ray gave this task, indices or UUIDs; in a driver, and without a Ray, none."""
    if not ray.is_initialized():  # the context would start one
        return []
    return list(ray.get_runtime_context().get_accelerator_ids().get("GPU", []))


def gpu_name() -> str:
    """Node and id of the GPU that Ray gave this task, the same for all processes that are given it."""
    return f"{ray.get_runtime_context().get_node_id()}:{','.join(assigned_gpus())}"


def describe_place() -> str:
    """Address of this process's node, in words."""
    return f"node {ray.util.get_node_ip_address()}" if ray.is_initialized() else "this machine"
