"""What workers of one training tell each other; a single one has nobody to ask."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist


def gathered(values: torch.Tensor) -> torch.Tensor:
    """The tensors of all workers, one after the other, in their order."""
    parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts)


def of_all(own: Any, workers: int) -> list[Any]:
    """An object of each worker."""
    if workers == 1:
        return [own]
    parts: list[Any] = [None] * workers
    dist.all_gather_object(parts, own)
    return parts


def from_first(own: Any, workers: int) -> Any:
    """The first worker's object; what the others give does not count."""
    if workers == 1:
        return own
    told = [own]
    dist.broadcast_object_list(told, 0)
    return told[0]
