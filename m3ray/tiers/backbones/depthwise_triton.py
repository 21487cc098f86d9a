# Kernels are compiled by Triton, which infers the types of what it compiles.
# ruff: noqa: ANN001, ANN201, ANN202, PLR0913, PLR0917
# mypy: disable-error-code="no-untyped-def, import-untyped"
"""A depthwise 3x3x3 convolution with bias, shortcut and ReLU in one kernel of Triton's, channels last.

`TRITON_INTERPRET=1` in the environment, before this module is imported, computes it on a CPU, which the tests do.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

POSITIONS, CHANNELS, WARPS = 32, 64, 4


@triton.jit
def shift(
    position, tap, stride: tl.constexpr, frames, height, width, out_frames, out_height, out_width
):  # fmt: skip
    """Where a tap of an output position reads, as a position of the input, and whether that lies inside."""
    column = position % out_width * stride + tap % 3 - 1
    row = position // out_width % out_height * stride + tap // 3 % 3 - 1
    plane = position // (out_width * out_height)
    frame = plane % out_frames * stride + tap // 9 - 1
    clip = plane // out_frames
    inside = (frame >= 0) & (frame < frames) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return ((clip * frames + frame) * height + row) * width + column, inside


@triton.jit
def _forward(
    x, w, bias, shortcut, out, count, channels, frames, height, width, out_frames, out_height, out_width,
    stride: tl.constexpr, has_bias: tl.constexpr, has_shortcut: tl.constexpr, has_relu: tl.constexpr,
    positions: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * positions + tl.arange(0, positions)
    channel = tl.program_id(1) * block + tl.arange(0, block)
    known, own = at < count, channel < channels
    total = tl.zeros((positions, block), tl.float32)
    for row in range(9):  # not unrolled: that takes many seconds to compile
        for column in tl.static_range(3):
            tap = row * 3 + column
            source, inside = shift(at, tap, stride, frames, height, width, out_frames, out_height, out_width)
            weight = tl.load(w + tap * channels + channel, mask=own, other=0.0)
            mask = (inside & known)[:, None] & own[None, :]
            value = tl.load(x + source[:, None] * channels + channel[None, :], mask=mask, other=0.0)
            total += value.to(tl.float32) * weight.to(tl.float32)[None, :]
    mask = known[:, None] & own[None, :]
    places = at[:, None] * channels + channel[None, :]
    if has_bias:
        total += tl.load(bias + channel, mask=own, other=0.0).to(tl.float32)[None, :]
    if has_shortcut:
        total += tl.load(shortcut + places, mask=mask, other=0.0).to(tl.float32)
    if has_relu:
        total = tl.maximum(total, 0.0)
    tl.store(out + places, total.to(out.dtype.element_ty), mask=mask)


def convolve(
    x: Tensor,
    weight: Tensor,
    stride: int = 1,
    bias: Tensor | None = None,
    *,
    shortcut: Tensor | None = None,
    has_relu: bool = False,
) -> Tensor:
    """Depthwise 3x3x3 convolution, padded by one.

    Args:
        x: (B, C, T, H, W), channels last in memory.
        weight: (C, 1, 3, 3, 3).
        stride: step in time and space.
        bias: (C,), or None.
        shortcut: what is added after that, of the shape of the output, channels last in memory; None for nothing.
        has_relu: whether a ReLU follows.
    Returns:
        (B, C, T', H', W'), channels last in memory, of the type of `x`.
    """
    batch, channels, *size = x.shape
    out_size = [(n - 1) // stride + 1 for n in size]
    layout = torch.channels_last_3d
    x = x.contiguous(memory_format=layout)
    added = None if shortcut is None else shortcut.contiguous(memory_format=layout)
    out = torch.empty((batch, channels, *out_size), dtype=x.dtype, device=x.device, memory_format=layout)
    count = out.numel() // channels
    taps = weight.flatten(1).T.contiguous()
    grid = (triton.cdiv(count, POSITIONS), triton.cdiv(channels, CHANNELS))
    kernel: Any = _forward
    kernel[grid](
        x, taps, x if bias is None else bias, x if added is None else added, out, count, channels, *size, *out_size,
        stride, bias is not None, added is not None, has_relu, POSITIONS, CHANNELS, num_warps=WARPS,
    )  # fmt: skip
    return out
