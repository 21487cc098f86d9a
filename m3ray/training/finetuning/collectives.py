"""Collective operations of the workers of one training; a single worker has nobody to communicate with."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist


def all_gather(values: torch.Tensor) -> torch.Tensor:
    """Concatenate a tensor of every worker.

    Args:
        values: This worker's tensor, (N, ...), of one shape on all workers.
    Returns:
        (workers x N, ...), in the order of the workers.
    """
    parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts)


def all_gather_objects(own: Any, workers: int) -> list[Any]:
    """Collect an object of every worker.

    Args:
        own: This worker's object; it is pickled.
        workers: Number of workers.
    Returns:
        The objects in the order of the workers.
    """
    if workers == 1:
        return [own]
    parts: list[Any] = [None] * workers
    dist.all_gather_object(parts, own)
    return parts


def broadcast_object(own: Any, workers: int) -> Any:
    """Send the first worker's object to all workers.

    Args:
        own: This worker's object; only the first worker's is sent, pickled.
        workers: Number of workers.
    Returns:
        The first worker's object.
    """
    if workers == 1:
        return own
    objects = [own]
    dist.broadcast_object_list(objects, 0)
    return objects[0]
