"""Copies of frames to a device and of features back: on a GPU beside the computation, through pinned memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, chain

import numpy as np
import torch
from torch import Tensor

# Bytes that travel together: long enough to fill a bus (1.3 ms of PCIe 4 x16), short enough that the first batch is
# computed while the host still gathers the others.
_CHUNK = 32 << 20


@dataclass(frozen=True)
class Upload:
    """A tensor on its way to a device.

    Args:
        tensor: the tensor on the device.
        end: event at the end of the copy; None where there is nothing to wait for.
    """

    tensor: Tensor
    end: torch.cuda.Event | None = None

    def wait(self) -> Tensor:
        """Let what is asked of the current stream from now on come after the copy; the caller itself goes on.

        Returns:
            The tensor on the device.
        """
        if self.end is not None:
            wait_for_copies(self.end, [self.tensor], self.tensor.device)
        return self.tensor


def wait_for_copies(end: torch.cuda.Event, tensors: Iterable[Tensor], device: torch.device) -> None:
    """Let what is asked of a GPU's current stream from now on come after copies; the caller itself goes on.

    Args:
        end: event at the end of the copies.
        tensors: what was copied, on the device.
        device: the GPU.
    """
    computing = torch.cuda.current_stream(device)
    computing.wait_event(end)
    for tensor in tensors:
        # The memory belongs to the copying stream: it must not be reused before this stream has read it.
        tensor.record_stream(computing)


class Transfers:
    """Copies between the host and one device.

    A GPU gets one stream for all its uploads: PyTorch keeps freed memory apart for each stream, so that a new stream
    a batch would take new memory a batch. Pinned buffers come from PyTorch's own pool, which gives one out again once
    the copy from it has ended.

    Args:
        device: device that computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def stage(self, arrays: Sequence[np.ndarray]) -> Tensor:
        """Join arrays in memory that the device copies from: pinned, for a GPU.

        Args:
            arrays: uint8, alike but for their first dimension, (N_k, ...).
        Returns:
            uint8, (sum of N_k, ...), on the host.
        """
        rows = sum(len(array) for array in arrays)
        joined = self._allocate((rows, *arrays[0].shape[1:]), torch.uint8)
        np.concatenate(arrays, out=joined.numpy())
        return joined

    def upload_slab(self, items: Sequence[Sequence[np.ndarray]]) -> list[Upload]:
        """Begin to copy arrays to the device as one slab: each byte is copied once on the host, and travels once.

        Args:
            items: arrays that stand one after the other on the device; those of an item are alike but for their first
                dimension, uint8, (N_k, ...).
        Returns:
            An upload for each item, (sum of its N_k, ...): views of the slab, in which they follow each other.
        """
        bounds = [0, *accumulate(sum(array.nbytes for array in arrays) for arrays in items)]
        host = self._allocate((bounds[-1],), torch.uint8)
        uploads = []
        with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            slab = torch.empty(bounds[-1], dtype=torch.uint8, device=self._device)
            for first, last in _split_into_chunks(bounds):
                chunk = slice(bounds[first], bounds[last])
                _join(items[first:last], host[chunk].numpy())
                slab[chunk].copy_(host[chunk], non_blocking=True)
                end = None if self._stream is None else self._stream.record_event()
                for k in range(first, last):
                    item = slab[bounds[k] : bounds[k + 1]].view(-1, *items[k][0].shape[1:])
                    uploads.append(Upload(item, end))
        return uploads

    def _allocate(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, pin_memory=self._stream is not None)

    def upload(self, tensors: Iterable[Tensor]) -> list[Upload]:
        """Begin to copy tensors to the device, in order.

        Args:
            tensors: tensors on the host; those that are not pinned are copied to pinned memory first.
        Returns:
            An upload for each tensor; wait for one where it is first needed, so that later ones go on meanwhile.
        """
        if self._stream is None:
            return [Upload(tensor.to(self._device)) for tensor in tensors]
        with torch.cuda.stream(self._stream):
            # An event after each copy, so that the first batch is computed while the others are on their way.
            return [Upload(self._copy(tensor), self._stream.record_event()) for tensor in tensors]

    def _copy(self, tensor: Tensor) -> Tensor:
        pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
        return pinned.to(self._device, non_blocking=True)

    def download(self, tensors: Sequence[Tensor]) -> list[np.ndarray]:
        """Copy tensors to the host, and wait once, at the end of all.

        Args:
            tensors: tensors on the device, computed on its current stream.
        Returns:
            An array for each tensor, in order.
        """
        if self._stream is None:
            return [tensor.cpu().numpy() for tensor in tensors]
        hosts = [self._allocate(tuple(tensor.shape), tensor.dtype) for tensor in tensors]
        for host, tensor in zip(hosts, tensors, strict=True):
            host.copy_(tensor, non_blocking=True)
        torch.cuda.current_stream(self._device).record_event().synchronize()
        # Copies: the pinned memory goes back to its pool, however long somebody keeps the features.
        return [host.numpy().copy() for host in hosts]


def _join(items: Iterable[Sequence[np.ndarray]], out: np.ndarray) -> None:
    start = 0
    for array in chain.from_iterable(items):
        out[start : start + array.nbytes].reshape(array.shape)[:] = array
        start += array.nbytes


def _split_into_chunks(bounds: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last + 1 of the items of each chunk; item k takes the bytes from bounds[k] to bounds[k + 1]."""
    first = 0
    for k in range(1, len(bounds)):
        if k == len(bounds) - 1 or bounds[k + 1] - bounds[first] > _CHUNK:
            yield first, k
            first = k


@cache
def transfers_of(device: torch.device) -> Transfers:
    """The transfers of a device, one for all tiers of this process.

    Args:
        device: device that computes.
    """
    return Transfers(device)
