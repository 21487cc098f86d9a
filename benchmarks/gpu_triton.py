# Kernels are compiled by Triton, which infers the types of what it compiles.
# ruff: noqa: ANN001, ANN202, PLR0913, PLR0917
# mypy: disable-error-code="no-untyped-def, import-untyped"
"""Gradient of a depthwise 3x3x3 convolution's weights in Triton, channels last, for part 3 of benchmarks/gpu.py.

`TRITON_INTERPRET=1` in the environment, before this module is imported, computes it on a CPU, which the tests do.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from m3ray.tiers.backbones.depthwise_triton import CHANNELS, POSITIONS, WARPS, convolve, shift

__all__ = ["convolve", "weight_gradient"]

STEPS = 32  # blocks of positions that a program of the weights' gradient sums up


@triton.jit
def _weight_gradient(
    x, gradient, parts, count, channels, frames, height, width, out_frames, out_height, out_width,
    stride: tl.constexpr, positions: tl.constexpr, block: tl.constexpr, steps: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0) * positions * steps
    channel = tl.program_id(1) * block + tl.arange(0, block)
    own = channel < channels
    for tap in range(27):  # unrolled it takes half a minute to compile
        total = tl.zeros((block,), tl.float32)
        for step in range(steps):
            at = first + step * positions + tl.arange(0, positions)
            source, inside = shift(at, tap, stride, frames, height, width, out_frames, out_height, out_width)
            mask = (inside & (at < count))[:, None] & own[None, :]
            value = tl.load(x + source[:, None] * channels + channel[None, :], mask=mask, other=0.0)
            slope = tl.load(gradient + at[:, None] * channels + channel[None, :], mask=mask, other=0.0)
            total += tl.sum(value.to(tl.float32) * slope.to(tl.float32), axis=0)
        tl.store(parts + (tl.program_id(0) * 27 + tap) * channels + channel, total, mask=own)


def weight_gradient(x: Tensor, gradient: Tensor, stride: int = 1) -> Tensor:
    """Gradient of a depthwise convolution's weights.

    Args:
        x: the input, (B, C, T, H, W), channels last in memory.
        gradient: gradient of the output, likewise.
        stride: step in time and space.
    Returns:
        (C, 1, 3, 3, 3), float32.
    """
    channels, size, out_size = x.shape[1], x.shape[2:], gradient.shape[2:]
    count = gradient.numel() // channels
    programs = triton.cdiv(count, POSITIONS * STEPS)
    parts = torch.empty((programs, 27, channels), device=x.device)
    grid = (programs, triton.cdiv(channels, CHANNELS))
    kernel: Any = _weight_gradient
    kernel[grid](
        x, gradient, parts, count, channels, *size, *out_size, stride, POSITIONS, CHANNELS, STEPS, num_warps=WARPS
    )  # fmt: skip
    return parts.sum(0).T.reshape(channels, 1, 3, 3, 3)
