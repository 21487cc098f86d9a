"""Networks whose convolutions add their bias, a block's shortcut and the ReLU themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

from torch import Tensor, nn

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)


@runtime_checkable
class ResidualBlock(Protocol):
    """A block that ends with the ReLU of its layers' output plus its shortcut."""

    def residual_layers(self) -> tuple[nn.Sequential, nn.Module | None]:
        """Layers before the addition, in order; the layer of the shortcut, None for the block's own input."""


class FusedConvolution(nn.Module):
    """A convolution that computes what follows it too; a subclass says how."""

    has_relu = False
    """Whether a ReLU follows."""

    def add_to_(self, total: Tensor, x: Tensor) -> Tensor:
        """Add the convolution to `total`, then apply the ReLU.

        Args:
            total: (B, C', [T',] H', W'); it may be overwritten.
            x: (B, C, [T,] H, W).
        Returns:
            (B, C', [T',] H', W').
        """
        raise TypeError(f"{type(self).__name__} adds nothing")


MakeConvolution = Callable[[nn.Conv2d | nn.Conv3d], FusedConvolution]


def fuse_convolutions_(network: nn.Module, make: MakeConvolution) -> nn.Module:
    """Replace a network's convolutions, and the ReLUs and additions after them, by fused ones, in place.

    Args:
        network: network for inference, batch norms folded, on its device and in its precision.
        make: function that makes the fused convolution of a plain one.
    Returns:
        `network`.
    """
    return _Fusion(make).fuse_children_(network)


@dataclass(frozen=True)
class _Fusion:
    make: MakeConvolution

    def fuse_children_(self, network: nn.Module) -> nn.Module:
        for name, child in list(network.named_children()):
            setattr(network, name, self.fuse(child))
        return network

    def fuse(self, module: nn.Module) -> nn.Module:
        if isinstance(module, nn.Sequential):
            layers = self.fuse_layers(module)
            return layers[0] if len(layers) == 1 else nn.Sequential(*layers)
        if isinstance(module, ResidualBlock):
            return self.fuse_block(module)
        if isinstance(module, _CONVOLUTIONS):
            return self.make(module)
        return self.fuse_children_(module)

    def fuse_layers(self, layers: nn.Sequential) -> list[nn.Module]:
        fused: list[nn.Module] = []
        for layer in map(self.fuse, _flatten(layers)):
            last = fused[-1] if fused else None
            if isinstance(layer, nn.ReLU) and isinstance(last, FusedConvolution):
                last.has_relu = True
            else:
                fused.append(layer)
        return fused

    def fuse_block(self, block: ResidualBlock) -> nn.Module:
        layers, shortcut = block.residual_layers()
        *before, last = self.fuse_layers(layers)
        if not isinstance(last, FusedConvolution):  # a batch norm that was not folded, say
            return self.fuse_children_(cast("nn.Module", block))
        last.has_relu = True
        return FusedBlock(nn.Sequential(*before), last, None if shortcut is None else self.fuse(shortcut))


def _flatten(layers: Iterable[nn.Module]) -> list[nn.Module]:
    flat: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.Sequential):
            flat += _flatten(layer)
        elif not isinstance(layer, nn.Identity):
            flat.append(layer)
    return flat


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
