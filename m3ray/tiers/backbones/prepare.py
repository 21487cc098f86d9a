"""What a network goes through between its weights and its first clip."""

from __future__ import annotations

import copy
import itertools
import math
import zlib
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)
# Of untrained batch norms. Shifts are small beside the signal: else 150 layers of them drown the picture.
_SHRINK, _SHIFT = 0.5, 0.02


def prepared(
    network: nn.Module, device: torch.device, precision: torch.dtype, *, fold: bool = True, own: bool = False
) -> nn.Module:
    """A copy of `network` for inference: batch norms folded, channels last, on `device` in `precision`.

    Folded before the weights lose precision, so bfloat16 rounds once.

    Args:
        network: filled.
        device: to compute on.
        precision: to compute in.
        fold: whether its children are named in the order in which they run.
        own: whether `network` itself may be changed, which saves copying it.
    """
    network = (network if own else copy.deepcopy(network)).eval().requires_grad_(False)
    network = folded_(network) if fold else network
    three_dimensional = any(isinstance(m, nn.Conv3d) for m in network.modules())
    layout = torch.channels_last_3d if three_dimensional else torch.channels_last
    return network.to(device=device, dtype=precision, memory_format=layout)  # type: ignore[call-overload]


def folded(network: nn.Module) -> nn.Module:
    """A copy in eval mode whose batch norms are folded into the convolutions before them."""
    return folded_(copy.deepcopy(network).eval().requires_grad_(False))


def folded_(network: nn.Module) -> nn.Module:
    """`folded`, in place."""
    for parent in network.modules():
        _fold_children(parent)
    return network


def _fold_children(parent: nn.Module) -> None:
    """Folds each batch norm among `parent`'s children into the convolution that the child before it ends with."""
    names = [name for name, _ in parent.named_children()]
    for name, following in itertools.pairwise(names):
        norm = getattr(parent, following)
        owner, last = _ending(parent, name)
        convolution = getattr(owner, last)
        if isinstance(convolution, _CONVOLUTIONS) and isinstance(norm, _NORMS):
            _fuse_(convolution, norm)
            setattr(parent, following, nn.Identity())


def _fuse_(convolution: nn.Conv2d | nn.Conv3d, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> None:
    # torch.nn.utils.fusion has this for a pair, and copies the convolution first.
    statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    weight, bias = fuse_conv_bn_weights(convolution.weight, convolution.bias, *statistics)  # type: ignore[arg-type]
    convolution.weight, convolution.bias = weight, bias


def _ending(parent: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Owner and name of the last module that child `name` runs, sequences looked into."""
    while isinstance(child := getattr(parent, name), nn.Sequential):
        parent, name = child, str(len(child) - 1)
    return parent, name


def untrained_(network: nn.Module, seed: int = 0) -> nn.Module:
    """Fills `network` in place with seeded random weights that keep activations small and finite through every layer.

    He's initialisation by fan-in and batch norms that shrink: the same numbers on every machine, from the name of
    each tensor. For trials without published weights; whatever comes from them must say so.
    """
    state = network.state_dict()
    for key, value in state.items():
        if value.is_floating_point():  # counters and index tables stay
            state[key] = _filled(key, value, seed)
    network.load_state_dict(state)
    return network


def _filled(key: str, like: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}:{key}".encode()))
    noise = torch.randn(like.shape, generator=generator, dtype=torch.float32)
    if like.ndim >= 2:
        noise *= math.sqrt(2.0 / like[0].numel())
    elif key.endswith("running_var"):
        noise = 1 + 0.1 * noise.abs()
    elif key.endswith(("running_mean", "bias")):
        noise *= _SHIFT
    else:
        noise = _SHRINK * (1 + 0.1 * noise)
    return noise.to(like.dtype)


def auto_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where `device` computes in it, float32 elsewhere (emulated bfloat16 is slower than float32)."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    flags = cast(dict[str, bool], torch.cpu.get_capabilities())
    return torch.bfloat16 if flags.get("avx512_bf16") or flags.get("amx_bf16") else torch.float32
