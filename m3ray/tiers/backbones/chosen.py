"""Convolutions that take the fastest of several ways on a GPU, each with its bias, shortcut and ReLU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from m3ray.tiers.backbones.convolution_ways import ConvolutionSettings, WayChooser, Work, compute_plainly
from m3ray.tiers.backbones.fused import FusedConvolution


class ChosenConvolution(FusedConvolution):
    """A convolution of a GPU and what follows it, in the way that a chooser found to be fastest.

    Args:
        convolution: the convolution, for inference.
        chooser: chooser that all convolutions of a network share.
    """

    def __init__(self, convolution: nn.Conv2d | nn.Conv3d, chooser: WayChooser) -> None:
        super().__init__()
        assert not isinstance(convolution.padding, str)
        self.weight, self.bias = convolution.weight, convolution.bias
        self.settings = ConvolutionSettings(
            convolution.stride, convolution.padding, convolution.dilation, convolution.groups
        )
        self._chooser = chooser

    def forward(self, x: Tensor) -> Tensor:
        """The convolution, and ReLU if one follows.

        Args:
            x: (B, C, [T,] H, W).
        Returns:
            (B, C', [T',] H', W').
        """
        return self._compute(Work(x, self.weight, self.bias, self.settings, None, self.has_relu))

    def add_to_(self, total: Tensor, x: Tensor) -> Tensor:
        """Add the convolution to `total`, then apply the ReLU.

        Args:
            total: (B, C', [T',] H', W'); it stays as it is.
            x: (B, C, [T,] H, W).
        Returns:
            (B, C', [T',] H', W').
        """
        return self._compute(Work(x, self.weight, self.bias, self.settings, total, self.has_relu))

    def _compute(self, work: Work) -> Tensor:
        # torch.compile fuses what is plain. Where results must repeat to the bit, no clock may decide.
        if torch.compiler.is_compiling() or torch.are_deterministic_algorithms_enabled():
            return compute_plainly(work)
        return self._chooser.compute(work)
