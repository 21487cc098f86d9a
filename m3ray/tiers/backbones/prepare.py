"""Preparing a network for inference: folded batch norms, precision, memory layout; and random weights for trials."""

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


def prepare_network(
    network: nn.Module, device: torch.device, precision: torch.dtype, *, fold: bool = True, in_place: bool = False
) -> nn.Module:
    """Prepare a network for inference: eval mode, batch norms folded, channels last, on its device.

    Batch norms are folded before the weights lose precision, so bfloat16 rounds once.

    Args:
        network: network with its weights.
        device: device to compute on.
        precision: type to compute in.
        fold: whether to fold batch norms; only for networks whose children are named in the order in which they run.
        in_place: whether to change `network` itself, which saves the memory of a copy.
    Returns:
        The prepared network: a copy, or `network` itself.
    """
    network = (network if in_place else copy.deepcopy(network)).eval().requires_grad_(False)
    network = fold_batch_norms_(network) if fold else network
    three_dimensional = any(isinstance(m, nn.Conv3d) for m in network.modules())
    layout = torch.channels_last_3d if three_dimensional else torch.channels_last
    return network.to(device=device, dtype=precision, memory_format=layout)  # type: ignore[call-overload]


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """A copy of a network in eval mode whose batch norms are folded into the convolutions before them.

    Args:
        network: network whose children are named in the order in which they run.
    """
    return fold_batch_norms_(copy.deepcopy(network).eval().requires_grad_(False))


def fold_batch_norms_(network: nn.Module) -> nn.Module:
    """Fold batch norms into the convolutions before them, in place.

    Args:
        network: network in eval mode whose children are named in the order in which they run.
    Returns:
        `network`, in which an identity stands for each batch norm that was folded.
    """
    for parent in network.modules():
        _fold_children(parent)
    return network


def _fold_children(parent: nn.Module) -> None:
    """Fold each batch norm among `parent`'s children into the convolution that the child before it ends with."""
    names = [name for name, _ in parent.named_children()]
    for name, following in itertools.pairwise(names):
        norm = getattr(parent, following)
        owner, last = _last_module(parent, name)
        convolution = getattr(owner, last)
        if isinstance(convolution, _CONVOLUTIONS) and isinstance(norm, _NORMS):
            _fuse_(convolution, norm)
            setattr(parent, following, nn.Identity())


def _fuse_(convolution: nn.Conv2d | nn.Conv3d, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> None:
    # torch.nn.utils.fusion has this for a pair, and copies the convolution first.
    statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    weight, bias = fuse_conv_bn_weights(convolution.weight, convolution.bias, *statistics)  # type: ignore[arg-type]
    convolution.weight, convolution.bias = weight, bias


def _last_module(parent: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Owner and name of the last module that child `name` runs, sequences looked into."""
    while isinstance(child := getattr(parent, name), nn.Sequential):
        parent, name = child, str(len(child) - 1)
    return parent, name


def fill_untrained_(network: nn.Module, seed: int = 0) -> nn.Module:
    """Fill a network in place with seeded random weights that keep activations small and finite in every layer.

    He's initialisation by fan-in, and batch norms that shrink: the same numbers on every machine, drawn from the name
    of each tensor. For trials without published weights; whatever comes from them must say so.

    Args:
        network: network to fill.
        seed: seed that is drawn from together with each tensor's name.
    Returns:
        `network`.
    """
    state = network.state_dict()
    for key, value in state.items():
        if value.is_floating_point():  # counters and index tables stay
            state[key] = _random_tensor(key, value, seed)
    network.load_state_dict(state)
    return network


def _random_tensor(key: str, like: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}:{key}".encode()))
    noise = torch.randn(like.shape, generator=generator, dtype=torch.float32)
    if like.ndim >= 2:
        # He et al. 2015: deviation sqrt(2 / fan_in)
        noise *= math.sqrt(2.0 / like[0].numel())
    elif key.endswith("running_var"):
        noise = 1 + 0.1 * noise.abs()
    elif key.endswith(("running_mean", "bias")):
        noise *= _SHIFT
    else:
        noise = _SHRINK * (1 + 0.1 * noise)
    return noise.to(like.dtype)


def fastest_precision(device: torch.device) -> torch.dtype:
    """The precision that networks run fastest in: bfloat16 where a device computes in it, else float32.

    Args:
        device: the device; one that only emulates bfloat16 is slower in it than in float32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    flags = cast(dict[str, bool], torch.cpu.get_capabilities())
    return torch.bfloat16 if flags.get("avx512_bf16") or flags.get("amx_bf16") else torch.float32
