"""Pixel statistics of each frame of many, in few launches: for GPUs. `m3ray.tiers.raw` defines them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from m3ray.tiers.constants import constant
from m3ray.tiers.raw import LUMA_WEIGHTS, make_waves


def split_planes(frames: Tensor) -> Tensor:
    """Split frames into channels, in one pass.

    Args:
        frames: uint8, (T, H, W, 3).
    Returns:
        Values in [0, 255], float32, contiguous, (T, 3, H, W).
    """
    return frames.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)


def frame_luma(planes: Tensor) -> Tensor:
    """Luma of each frame, in the order of `raw.brightness_and_luma`, so that it rounds to the same 8 bits.

    Args:
        planes: values in [0, 255], float32, (T, 3, H, W).
    Returns:
        Luma in [0, 1], float32, (T, H, W).
    """
    red, green, blue = (weight / 255 for weight in LUMA_WEIGHTS)
    return (planes[:, 0] * red).add_(planes[:, 1], alpha=green).add_(planes[:, 2], alpha=blue)


def frame_brightness(planes: Tensor) -> Tensor:
    """Mean of V = max(R, G, B) of each frame.

    Args:
        planes: values in [0, 255], float32, (T, 3, H, W).
    Returns:
        Brightness in [0, 1], float32, (T,).
    """
    return planes.amax(dim=1).mean(dim=(1, 2)).div_(255)


def frame_contrast(gray: Tensor) -> Tensor:
    """Standard deviation of luma over the pixels of each frame.

    Args:
        gray: luma in [0, 1], float32, (T, H, W).
    Returns:
        Contrast in [0, 0.5], float32, (T,).
    """
    return gray.flatten(1).std(dim=1, correction=0)


class LowWaves(NamedTuple):
    """The waves of the low-frequency square, on the device that computes.

    Args:
        rows: `raw.make_waves` of an axis of rows, (R, H).
        columns: `raw.make_waves` of an axis of columns, (C, W).
        turn_rows: what couples the last two of `rows`, (R, R).
        turn_columns: what couples the last two of `columns`, (C, C).
    """

    rows: Tensor
    columns: Tensor
    turn_rows: Tensor
    turn_columns: Tensor


def place_waves(size: torch.Size, half_width: int, device: torch.device) -> LowWaves:
    """Place the waves of frames of a size on a device, once.

    Args:
        size: height and width of a frame.
        half_width: half the side of the low-frequency square, in cycles a frame.
        device: device that computes.
    """
    rows, columns = (constant(make_waves, n, min(half_width, n // 2), device=device) for n in size)
    return LowWaves(rows, columns, *(constant(_edge_turn, len(waves), device=device) for waves in (rows, columns)))


def frame_blurriness(gray: Tensor, waves: LowWaves) -> Tensor:
    """Mean level of each frame without its low frequencies.

    Args:
        gray: luma in [0, 1], float32, (T, H, W).
        waves: the waves of its size.
    Returns:
        dB, (T,).
    """
    low = _project_low(gray, waves)
    low[:, 0].sub_(gray)
    low.square_()
    # 20 log10 |z| = 10 log10 |z|^2, and the bound of |z| becomes its square.
    return low[:, 0].add_(low[:, 1]).clamp_min_(1e-16).log10_().mean(dim=(1, 2)).mul_(10)


def _project_low(gray: Tensor, waves: LowWaves) -> Tensor:
    """Real and imaginary part of each frame's projection onto the low-frequency square: (T, 2, H, W).

    As `raw._low_frequencies`, whose projections are B (I + iK) B': B the real waves and K the turn that couples the
    edge wave's two. So of a frame g, with c = B'gB, the projection is B (c + KcK) B' + i B (Kc - cK) B'.
    """
    count, height, width = gray.shape
    turn = waves.turn_columns.expand(count, -1, -1)
    along_x = (gray.reshape(count * height, width) @ waves.columns.T).view(count, height, -1)
    found = torch.bmm(waves.rows.expand(count, -1, -1), along_x)
    turned = torch.bmm(waves.turn_rows.expand(count, -1, -1), found)
    both = gray.new_empty(count, 2, *found.shape[1:])
    torch.baddbmm(found, turned, turn, out=both[:, 0])
    torch.baddbmm(turned, found, turn, alpha=-1, out=both[:, 1])
    across = (both.view(-1, found.shape[-1]) @ waves.columns).view(2 * count, -1, width)
    return torch.bmm(waves.rows.T.expand(2 * count, -1, -1), across).view(count, 2, height, width)


def _edge_turn(waves: int) -> Tensor:
    """Vu' - uv' for the last two of some waves, u and v: (waves, waves)."""
    turn = torch.zeros(waves, waves, dtype=torch.float64)
    turn[-1, -2], turn[-2, -1] = 1, -1
    return turn
