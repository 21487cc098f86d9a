"""Constants of the features, made once and uploaded once to each device."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache

import torch
from torch import Tensor

_KEPT = 128  # tensors; all tiers together need about forty a device for frames of one size


def constant(
    make: Callable[..., Tensor], *arguments: Hashable, device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """A tensor that follows from a few numbers, made on the CPU and uploaded once to each device.

    Made for each batch instead, it would stop a GPU's queue each time: an upload from memory that is not pinned waits
    for all that was asked for before.

    Args:
        make: function that makes the tensor on the CPU.
        arguments: positional arguments of `make`.
        device: device that computes with it.
        dtype: type that it gets.
    Returns:
        The constant, shared by all who ask for it: it must not be changed in place.
    """
    if torch._guards.detect_fake_mode() is not None:
        # A tensor without numbers is of use to nobody else.
        return make(*arguments).to(device, dtype)
    return _place(make, arguments, device, dtype)


@lru_cache(maxsize=_KEPT)
def _place(
    make: Callable[..., Tensor], arguments: tuple[Hashable, ...], device: torch.device, dtype: torch.dtype
) -> Tensor:
    # A tensor of inference mode would be of no use to training, which may ask for it later.
    with torch.inference_mode(False):
        return make(*arguments).to(device, dtype)
