"""Convolutions that add their bias, a block's shortcut and the ReLU in the same pass, on CPUs with oneDNN."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_Activation = tuple[str, list[float], str]
_RELU: _Activation = ("relu", [], "")
_NOTHING: _Activation = ("none", [], "")


@runtime_checkable
class ResidualBlock(Protocol):
    """A block that ends with the ReLU of its layers' output plus its shortcut."""

    def residual_layers(self) -> tuple[nn.Sequential, nn.Module | None]:
        """Layers before the addition, in order; the layer of the shortcut, None for the block's own input."""


def can_fuse(device: torch.device, precision: torch.dtype) -> bool:
    """Whether a device computes convolutions together with what follows them.

    Args:
        device: device to compute on; GPUs leave it to torch.compile.
        precision: type to compute in.
    """
    # oneDNN has these on ARM too, where some are its slow reference code.
    if (
        device.type != "cpu"
        or platform.machine() not in ("x86_64", "AMD64")
        or not torch.backends.mkldnn.is_available()
    ):
        return False
    operations: Any = torch.ops.mkldnn
    if not hasattr(operations, "_convolution_pointwise_"):
        return False
    return precision is torch.float32 or (precision is torch.bfloat16 and bool(operations._is_mkldnn_bf16_supported()))


def fuse_convolutions_(network: nn.Module) -> nn.Module:
    """Replace a network's convolutions, and the ReLUs and additions after them, by fused ones, in place.

    Args:
        network: network for inference, batch norms folded, on a device and in a precision that `can_fuse` names.
    Returns:
        `network`; its convolutions give up their weights' plain form at the first call.
    """
    for name, child in list(network.named_children()):
        setattr(network, name, _fuse(child))
    return network


def _fuse(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.Sequential):
        layers = _fuse_layers(module)
        return layers[0] if len(layers) == 1 else nn.Sequential(*layers)
    if isinstance(module, ResidualBlock):
        return _fuse_block(module)
    if isinstance(module, _CONVOLUTIONS):
        return FusedConvolution(module)
    return fuse_convolutions_(module)


def _fuse_layers(layers: nn.Sequential) -> list[nn.Module]:
    fused: list[nn.Module] = []
    for layer in map(_fuse, _flatten(layers)):
        last = fused[-1] if fused else None
        if isinstance(layer, nn.ReLU) and isinstance(last, FusedConvolution):
            last.activation = _RELU
        else:
            fused.append(layer)
    return fused


def _flatten(layers: Iterable[nn.Module]) -> list[nn.Module]:
    flat: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.Sequential):
            flat += _flatten(layer)
        elif not isinstance(layer, nn.Identity):
            flat.append(layer)
    return flat


def _fuse_block(block: ResidualBlock) -> nn.Module:
    layers, shortcut = block.residual_layers()
    *before, last = _fuse_layers(layers)
    if not isinstance(last, FusedConvolution):  # a batch norm that was not folded, say
        return fuse_convolutions_(cast("nn.Module", block))
    last.activation = _RELU
    return FusedBlock(nn.Sequential(*before), last, None if shortcut is None else _fuse(shortcut))


class FusedConvolution(nn.Module):
    """A convolution and its ReLU in one pass of oneDNN, with weights in the order that oneDNN wants them.

    PyTorch reorders them at each call, which for small pictures takes longer than the convolution; and it leaves a
    3-D convolution of one clip on one thread to a far slower one of its own. Depthwise 3-D convolutions too are fastest
    so: at least 1.5 times as fast as the best way of three 2-D ones in each layer of a CSN, in float32 and in bfloat16,
    so that there is nothing to choose when a job starts.

    Args:
        convolution: the convolution, for inference.
    """

    def __init__(self, convolution: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        assert not isinstance(convolution.padding, str)
        self.weight, self.bias = convolution.weight, convolution.bias
        self.settings = (
            list(convolution.padding),
            list(convolution.stride),
            list(convolution.dilation),
            convolution.groups,
        )
        self.activation = _NOTHING
        self._packed: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The convolution, and ReLU if its `activation` says so.

        Args:
            x: (B, C, [T,] H, W).
        Returns:
            (B, C', [T',] H', W').
        """
        weight = self._pack(x)
        return torch.ops.mkldnn._convolution_pointwise(x, weight, self.bias, *self.settings, *self.activation)

    def add_to_(self, total: Tensor, x: Tensor) -> Tensor:
        """Add the convolution to `total` in place, then apply the ReLU.

        Args:
            total: (B, C', [T',] H', W'); it is changed.
            x: (B, C, [T,] H, W).
        Returns:
            `total`.
        """
        weight = self._pack(x)
        return torch.ops.mkldnn._convolution_pointwise_(
            total, x, weight, self.bias, *self.settings, "add", 1.0, *self.activation
        )

    def _pack(self, x: Tensor) -> Tensor:
        """The packed weights; the order suits the first input, and is right, if slower, for any other."""
        if self._packed is None:
            padding, stride, dilation, groups = self.settings
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, padding, stride, dilation, groups, list(x.shape)
            )
            self.weight = None  # type: ignore[assignment]
        return self._packed


class FusedBlock(nn.Module):
    """A residual block whose last convolution is added to the shortcut in place.

    Nobody else needs the block's input then: in a CSN and in HRNet's branches it is the output of the block before.

    Args:
        before: the layers before the last convolution.
        last: the last convolution.
        shortcut: layer of the shortcut; None: the block's input.
    """

    def __init__(self, before: nn.Sequential, last: FusedConvolution, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.before, self.last, self.shortcut = before, last, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """ReLU of the layers' output plus the shortcut.

        Args:
            x: (B, C, [T,] H, W); it is overwritten where the shortcut has no layer.
        Returns:
            (B, C', [T',] H', W').
        """
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return self.last.add_to_(shortcut, self.before(x))
