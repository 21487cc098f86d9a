"""Convolutions that add their bias, a block's shortcut and the ReLU in the same pass, on CPUs with oneDNN."""

from __future__ import annotations

import platform
from typing import Any

import torch
from torch import Tensor, nn

from m3ray.tiers.backbones.fused import FusedConvolution


def can_fuse(device: torch.device, precision: torch.dtype) -> bool:
    """Whether a device computes convolutions together with what follows them.

    Args:
        device: device to compute on; GPUs have ways of their own.
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


class OneDnnConvolution(FusedConvolution):
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
        self._packed: Tensor | None = None

    @property
    def _activation(self) -> tuple[str, list[float], str]:
        return ("relu" if self.has_relu else "none", [], "")

    def forward(self, x: Tensor) -> Tensor:
        """The convolution, and ReLU if one follows.

        Args:
            x: (B, C, [T,] H, W).
        Returns:
            (B, C', [T',] H', W').
        """
        weight = self._pack(x)
        return torch.ops.mkldnn._convolution_pointwise(x, weight, self.bias, *self.settings, *self._activation)

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
            total, x, weight, self.bias, *self.settings, "add", 1.0, *self._activation
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
