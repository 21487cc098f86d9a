"""Batch limits: how many windows of a shape a tier computes at once, halved where memory runs out, and remembered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import psutil
import ray
import torch

from m3ray.errors import DecodeError
from m3ray.pipelines.extraction.device_faults import classify_error
from m3ray.tiers import Tier, Window, WindowFeatures

_GIB = 1 << 30
OUT_OF_MEMORY = "out_of_memory"
# Of a GPU that actors share: the rest is for the contexts that CUDA makes in each process.
_SHARED_FRACTION = 0.95


def limit_memory(device: torch.device) -> int:
    """Limit this process to its share of a GPU, so that no actor takes what another one counts on.

    Args:
        device: Device that the process computes on.
    Returns:
        Bytes that the process may take: its share of the GPU, all of the GPU, or the machine's memory.
    """
    if device.type != "cuda":
        return psutil.virtual_memory().total
    total = torch.cuda.get_device_properties(device).total_memory
    share = _assigned_share()
    if share >= 1:
        return total
    torch.cuda.set_per_process_memory_fraction(_SHARED_FRACTION * share, device)
    return int(_SHARED_FRACTION * share * total)


def _assigned_share() -> float:
    """Share of a GPU that Ray gave this actor; 1 in a driver and without Ray."""
    if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return 1.0
    return float(ray.get_runtime_context().get_assigned_resources().get("GPU", 1))


class BatchLimits:
    """Computes windows in batches that fit into memory.

    Args:
        memory: Bytes that the process may take, for messages.
    """

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.limits: dict[tuple[str, tuple[int, ...]], int] = {}
        """Tier and shape of a window to the number of windows that fit; only of those that did not fit once."""

    def compute(self, tier: Tier, windows: Sequence[Window]) -> list[WindowFeatures]:
        """Compute a tier's columns of windows, all at once if they fit.

        Args:
            tier: The tier.
            windows: Windows of one or of several clips.
        Returns:
            The columns of each window, in order.
        Raises:
            DecodeError: If a window does not fit alone (`out_of_memory`); others may not have been computed then.
        """
        features: dict[int, WindowFeatures] = {}
        batches = self._split(tier, windows, range(len(windows)))
        while batches:
            indices = batches.pop()
            results = self._try_batch(tier, [windows[k] for k in indices])
            if results is None:
                batches = [part for batch in [*batches, indices] for part in self._split(tier, windows, batch)]
            else:
                features.update(zip(indices, results, strict=True))
        return [features[k] for k in range(len(windows))]

    def _try_batch(self, tier: Tier, windows: Sequence[Window]) -> list[WindowFeatures] | None:
        """The columns of a batch; None if memory ran out, after a lower limit was noted."""
        try:
            return tier.compute(windows)
        except Exception as error:
            if classify_error(error) != "memory":
                raise
        # Out here, where the exception no longer holds the tensors of the calls that it came through.
        torch.cuda.empty_cache()
        self._note_limit(tier, windows)
        return None

    def _note_limit(self, tier: Tier, windows: Sequence[Window]) -> None:
        """Halve the limit of the batch's shape; of several shapes each may take the whole batch, but by itself."""
        shapes = {window.frames.shape for window in windows}
        if len(windows) == 1:
            raise DecodeError(OUT_OF_MEMORY, self._describe(tier, windows[0].frames), "tier")
        count = len(windows) if len(shapes) > 1 else (len(windows) + 1) // 2
        for shape in shapes:
            self.limits[tier.name, shape] = min(count, self.limits.get((tier.name, shape), count))

    def _describe(self, tier: Tier, frames: np.ndarray) -> str:
        size = " x ".join(map(str, frames.shape[:3]))
        return (
            f"{size} (frames x height x width) do not fit alone into the {self.memory / _GIB:.1f} GiB that tier "
            f"{tier.name} may take: lower --fps, or let fewer actors share the memory "
            "(--compute.actors-per-gpu, on CPUs --compute.actors), or take a machine with more, and run again with "
            "--retry-rejects"
        )

    def _split(self, tier: Tier, windows: Sequence[Window], indices: Sequence[int]) -> list[list[int]]:
        """Batches of indices that keep to the limits, the first ones last; shapes that have a limit stay apart."""
        groups: dict[tuple[int, ...] | None, list[int]] = defaultdict(list)
        for k in indices:
            shape = windows[k].frames.shape
            groups[shape if (tier.name, shape) in self.limits else None].append(k)
        batches = []
        for group, members in groups.items():
            limit = len(members) if group is None else self.limits[tier.name, group]
            batches += [members[start : start + limit] for start in range(0, len(members), limit)]
        return batches[::-1]
