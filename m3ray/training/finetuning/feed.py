"""Micro-batches on their way from host memory to the device, one step ahead of what is computed."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from m3ray.tiers.transfers import wait_for_copies

T = TypeVar("T")


@dataclass(frozen=True)
class MicroBatch:
    """The clips that a worker computes at once; on the host until `copy_to`.

    Args:
        frames: Frames of each of B clips, (T, H, W, 3), uint8.
        rows: Rows of the matrix as the frozen model sees it, (B, F), float32; (B, 0) until the worker looks them up.
        scores: Scores in [0, 1], (B,), float32.
        mask: 1 where a clip counts, 0 where it fills up the last step of an epoch, (B,), float32, on the CPU: what
            counts is decided there, so that no step waits for the device to say it.
        positions: Rows of the clips in the study's matrix, (B,), int64, on the CPU.
    """

    frames: Sequence[Tensor]
    rows: Tensor
    scores: Tensor
    mask: Tensor
    positions: Tensor

    def copy_to(self, device: torch.device) -> MicroBatch:
        """Copy to a device what is computed with; from pinned memory the copy runs beside what the device computes.

        Args:
            device: The device.
        Returns:
            The micro-batch on the device; its mask and positions stay.
        """
        frames = [clip.to(device, non_blocking=True) for clip in self.frames]
        rows, scores = (values.to(device, non_blocking=True) for values in (self.rows, self.scores))
        return replace(self, frames=frames, rows=rows, scores=scores)

    def tensors(self) -> Iterator[Tensor]:
        """All tensors, those of the frames first."""
        yield from self.frames
        yield from (getattr(self, field.name) for field in fields(self)[1:])


Step = list[MicroBatch]


@dataclass(frozen=True)
class _Copied:
    """A step whose copies may still be under way, and what ends with them."""

    step: Step
    end: torch.cuda.Event


class DeviceFeed:
    """Copies the micro-batches of each step to a device while the step before it is computed.

    On a GPU a thread fetches a step, and one stream of this feed's own copies it. On a CPU nothing is copied or fetched
    ahead.

    Args:
        device: Device that the steps are computed on.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def make_host_tensor(self, array: np.ndarray) -> Tensor:
        """Copy an array to a tensor on the host, which a GPU can read while it computes.

        Args:
            array: Numbers of any shape; the array may be read-only.
        Returns:
            The same numbers; pinned memory where the device is a GPU, which PyTorch keeps and uses again.
        """
        kind = torch.from_numpy(np.empty(0, array.dtype)).dtype
        tensor = torch.empty(array.shape, dtype=kind, pin_memory=self.stream is not None)
        tensor.numpy()[...] = array
        return tensor

    def send(self, steps: Iterable[Step]) -> Iterator[Step]:
        """Send steps to the device.

        Args:
            steps: Micro-batches of each step, made of `make_host_tensor`'s tensors.
        Yields:
            The micro-batches of each step on the device.
        """
        if self.stream is None:
            for step in steps:
                yield [part.copy_to(self.device) for part in step]
            return
        yield from map(self._receive, run_ahead(map(self._start_copy, steps)))

    def _start_copy(self, step: Step) -> _Copied:
        """Start the copies of a step; the thread that calls this has no device of its own yet."""
        assert self.stream is not None
        with torch.cuda.device(self.device), torch.cuda.stream(self.stream):
            copied = [part.copy_to(self.device) for part in step]
            return _Copied(copied, self.stream.record_event())

    def _receive(self, copied: _Copied) -> Step:
        """Let what is computed next wait for a step's copies, on the device; the host goes on."""
        tensors = (tensor for part in copied.step for tensor in part.tensors() if tensor.is_cuda)
        wait_for_copies(copied.end, tensors, self.device)
        return copied.step


def run_ahead(items: Iterable[T]) -> Generator[T]:
    """Fetch items in a thread, one ahead of the one that was asked for.

    Args:
        items: What to fetch.
    Yields:
        The same, in order.
    """
    source = iter(items)
    pool = ThreadPoolExecutor(1, thread_name_prefix="m3ray-feed")
    try:
        coming = pool.submit(next, source, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, source, None)
            yield item
    finally:
        # Whoever ends early does not wait for frames that nobody needs.
        pool.shutdown(wait=False, cancel_futures=True)
