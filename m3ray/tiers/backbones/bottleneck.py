"""The residual block of three convolutions of ResNets (He et al. 2016), which HRNet's stem has too."""

from __future__ import annotations

from torch import Tensor, nn

EXPANSION = 4
"""Channels of a block's output for each of its 3x3 convolution."""


class Bottleneck(nn.Module):
    """A residual block of a ResNet: 1x1, 3x3 with the stride, 1x1.

    Args:
        inputs: channels of its input.
        width: channels of its 3x3 convolution; its output has four times as many.
        stride: stride of its 3x3 convolution.
    """

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """ReLU of the block's convolutions plus its shortcut.

        Args:
            x: (B, inputs, H, W).
        Returns:
            (B, 4 width, H / stride, W / stride).
        """
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)).add_(shortcut))

    def residual_layers(self) -> tuple[nn.Sequential, nn.Module | None]:
        """Layers before the addition, in order; the layer of the shortcut, None for the block's own input."""
        layers = (self.conv1, self.bn1, self.relu, self.conv2, self.bn2, self.relu, self.conv3, self.bn3)
        return nn.Sequential(*layers), self.downsample
