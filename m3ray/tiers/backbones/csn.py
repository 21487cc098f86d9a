"""Channel-separated networks, CSN-152 (Tran et al. 2019), pooled.

Layout and `state_dict` keys are those of VMZ's published files, which follow torchvision's video
ResNet: `stem.{0,1}`, `layerL.B.conv{1,2,3}.*`, `layerL.B.downsample.{0,1}`. The classifier `fc.*` is left out.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from m3ray.errors import ShapeError

BLOCKS_152 = (3, 8, 36, 3)
FEATURES = 2048
EXPANSION = 4

# VMZ trained with an epsilon of its own; torch's default of 1e-5 would shift every feature.
_norm = partial(nn.BatchNorm3d, eps=1e-3)


def _pointwise(inputs: int, outputs: int, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, kernel_size=1, stride=stride, bias=False)


def _depthwise(channels: int, stride: int) -> nn.Conv3d:
    return nn.Conv3d(channels, channels, kernel_size=3, stride=stride, padding=1, groups=channels, bias=False)


def _interaction_reduced(channels: int, stride: int) -> nn.Module:
    """A depthwise convolution instead of the bottleneck's full 3x3x3 one."""
    return _depthwise(channels, stride)


def _interaction_preserved(channels: int, stride: int) -> nn.Module:
    """A 1x1x1 convolution, which keeps the channels interacting, before the depthwise one."""
    return nn.Sequential(_pointwise(channels, channels), _norm(channels), _depthwise(channels, stride))


_SEPARATED = {"ip": _interaction_preserved, "ir": _interaction_reduced}


class Bottleneck(nn.Module):
    """A residual block: 1x1x1 reduction, channel-separated 3x3x3, 1x1x1 expansion, plus the shortcut.

    Args:
        inputs: channels of its input.
        width: channels between reduction and expansion; it returns 4 times as many.
        stride: step of the 3x3x3 convolution and of the shortcut, in time and space.
        mode: CSN variant, `ip` (interaction preserved) or `ir` (interaction reduced).
    """

    def __init__(self, inputs: int, width: int, stride: int, mode: str) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.conv1 = nn.Sequential(_pointwise(inputs, width), _norm(width), nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(_SEPARATED[mode](width, stride), _norm(width), nn.ReLU(inplace=True))
        self.conv3 = nn.Sequential(_pointwise(width, outputs), _norm(outputs))
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(_pointwise(inputs, outputs, stride), _norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """ReLU of the block's convolutions plus its shortcut.

        Args:
            x: (B, inputs, T, H, W).
        Returns:
            (B, 4 width, T / stride, H / stride, W / stride).
        """
        shortcut = x if self.downsample is None else self.downsample(x)
        # In place: one more tensor of the widest layer costs more than the addition itself.
        return self.relu(self.conv3(self.conv2(self.conv1(x))).add_(shortcut))

    def residual_layers(self) -> tuple[nn.Sequential, nn.Module | None]:
        """Layers before the addition, in order; the layer of the shortcut, None for the block's own input."""
        return nn.Sequential(self.conv1, self.conv2, self.conv3), self.downsample


class CSN(nn.Module):
    """A channel-separated video ResNet without its classifier.

    Args:
        blocks: how many bottlenecks each of the four layers has.
        mode: CSN variant, `ip` (interaction preserved) or `ir` (interaction reduced).
    """

    accepted_but_unused = ("fc.",)

    def __init__(self, blocks: tuple[int, ...] = BLOCKS_152, mode: str = "ip") -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(3, 64, kernel_size=(3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
            _norm(64),
            nn.ReLU(inplace=True),
            nn.MaxPool3d(kernel_size=(1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
        )
        inputs = 64
        for index, count in enumerate(blocks):
            width = 64 * 2**index
            layer = []
            for block in range(count):
                stride = 2 if index > 0 and block == 0 else 1
                layer.append(Bottleneck(inputs, width, stride, mode))
                inputs = width * EXPANSION
            self.add_module(f"layer{index + 1}", nn.Sequential(*layer))

    def forward(self, x: Tensor) -> Tensor:
        """Pooled features of normalised clips.

        Args:
            x: RGB normalised with the network's mean and deviation, (B, 3, T, H, W), T >= 8 to leave time to average.
        Returns:
            Mean over time and space of the last layer, (B, 2048).
        Raises:
            ShapeError: If `x` is not five-dimensional with three channels.
        """
        if x.ndim != 5 or x.shape[1] != 3:
            raise ShapeError(f"CSN takes (B, 3, T, H, W), got {tuple(x.shape)}: put channels second and frames third")
        x = self.stem(x)
        for index in range(1, 5):
            x = self.get_submodule(f"layer{index}")(x)
        return torch.flatten(x, 2).mean(dim=2)


def ip_csn_152() -> CSN:
    """Interaction-preserved CSN-152: 32.2 M parameters, 108.8 G multiply-adds at 32x256x256."""
    return CSN(BLOCKS_152, "ip")


def ir_csn_152() -> CSN:
    """Interaction-reduced CSN-152: 28.9 M parameters, 96.7 G multiply-adds at 32x256x256."""
    return CSN(BLOCKS_152, "ir")
