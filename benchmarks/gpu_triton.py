# Kernels are compiled by Triton, which infers the types of what it compiles.
# ruff: noqa: ANN001, ANN202, PLR0913, PLR0917
# mypy: disable-error-code="no-untyped-def, import-untyped"
"""A depthwise 3x3x3 convolution in Triton, channels last: the fourth way of part 3 of benchmarks/gpu.py.

`TRITON_INTERPRET=1` in the environment, before this module is imported, computes it on a CPU, which the tests do.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

POSITIONS, CHANNELS, WARPS = 32, 64, 4
STEPS = 32  # blocks of positions that a program of the weights' gradient sums up


@triton.jit
def _shift(
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
    x, w, out, count, channels, frames, height, width, out_frames, out_height, out_width,
    stride: tl.constexpr, positions: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * positions + tl.arange(0, positions)
    channel = tl.program_id(1) * block + tl.arange(0, block)
    known, own = at < count, channel < channels
    total = tl.zeros((positions, block), tl.float32)
    for row in range(9):  # not unrolled: that takes many seconds to compile
        for column in tl.static_range(3):
            tap = row * 3 + column
            source, inside = _shift(at, tap, stride, frames, height, width, out_frames, out_height, out_width)
            weight = tl.load(w + tap * channels + channel, mask=own, other=0.0)
            mask = (inside & known)[:, None] & own[None, :]
            value = tl.load(x + source[:, None] * channels + channel[None, :], mask=mask, other=0.0)
            total += value.to(tl.float32) * weight.to(tl.float32)[None, :]
    mask = known[:, None] & own[None, :]
    tl.store(out + at[:, None] * channels + channel[None, :], total.to(out.dtype.element_ty), mask=mask)


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
            source, inside = _shift(at, tap, stride, frames, height, width, out_frames, out_height, out_width)
            mask = (inside & (at < count))[:, None] & own[None, :]
            value = tl.load(x + source[:, None] * channels + channel[None, :], mask=mask, other=0.0)
            slope = tl.load(gradient + at[:, None] * channels + channel[None, :], mask=mask, other=0.0)
            total += tl.sum(value.to(tl.float32) * slope.to(tl.float32), axis=0)
        tl.store(parts + (tl.program_id(0) * 27 + tap) * channels + channel, total, mask=own)


def convolve(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """Depthwise 3x3x3 convolution, padded by one.

    Args:
        x: (B, C, T, H, W), channels last in memory.
        weight: (C, 1, 3, 3, 3).
        stride: step in time and space.
    Returns:
        (B, C, T', H', W'), channels last in memory, of the type of `x`.
    """
    batch, channels, *size = x.shape
    out_size = [(n - 1) // stride + 1 for n in size]
    layout = torch.channels_last_3d
    out = torch.empty((batch, channels, *out_size), dtype=x.dtype, device=x.device, memory_format=layout)
    count = out.numel() // channels
    taps = weight.flatten(1).T.contiguous()
    grid = (triton.cdiv(count, POSITIONS), triton.cdiv(channels, CHANNELS))
    kernel: Any = _forward
    kernel[grid](
        x, taps, out, count, channels, *size, *out_size, stride, POSITIONS, CHANNELS, num_warps=WARPS
    )  # fmt: skip
    return out


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
