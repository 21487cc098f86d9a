"""Farneback's dense optical flow (2003) in PyTorch, batched over frames: for GPUs, where OpenCV's wheel has none.

OpenCV's definition: a pyramid of blurred frames, a quadratic polynomial fitted around each pixel, and from the
difference of two frames' polynomials a displacement, averaged over a window and iterated. Each frame is expanded once,
though it takes part in two pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

# The settings of the reference figures.
PYRAMID_SCALE, LEVELS, WINDOW, ITERATIONS, POLY_N, POLY_SIGMA = 0.5, 3, 15, 3, 5, 1.2
_SMALLEST = 32  # pixels: no level is smaller
# How much the pixels at the border count, from the outermost in; beyond them, whole.
_BORDER = (0.14, 0.14, 0.4472, 0.4472, 0.4472)
_SINGULAR = 1e-3  # added to the determinant where a window has no structure


@dataclass(frozen=True)
class _Expansion:
    """Weights of the polynomial fit: 1, x, x^2 under a Gaussian, and the entries of the normal equations' inverse."""

    filters: Tensor
    linear: float
    mixed: float
    square: float
    cross: float


def flows(frames: Tensor) -> Tensor:
    """Flow between consecutive frames.

    Args:
        frames: (T, H, W), float32, values in [0, 255], T >= 2.
    Returns:
        (T - 1, 2, H, W), x then y, pixels a frame.
    """
    size, depth = frames.shape[-2:], _depth(frames.shape[-2:])
    found = frames.new_zeros(len(frames) - 1, 2, *_scaled(size, depth))
    for level in range(depth, -1, -1):
        here = _scaled(size, level)
        if level < depth:
            found = F.interpolate(found, size=here, mode="bilinear") / PYRAMID_SCALE
        expanded = _expanded(_reduced(frames[:, None], level, here))
        for _ in range(ITERATIONS):
            found = _solved(_equations(expanded[:-1], expanded[1:], found))
    return found


def _depth(size: torch.Size) -> int:
    """Halvings of a frame that leave `_SMALLEST` pixels or more."""
    fitting = [k for k in range(1, LEVELS + 1) if min(size) * PYRAMID_SCALE**k >= _SMALLEST]
    return max(fitting, default=0)


def _scaled(size: torch.Size, level: int) -> tuple[int, int]:
    return round(size[0] * PYRAMID_SCALE**level), round(size[1] * PYRAMID_SCALE**level)


def _reduced(frames: Tensor, level: int, size: tuple[int, int]) -> Tensor:
    """(T, 1, H, W) blurred as much as the level's reduction needs, then reduced."""
    sigma = (PYRAMID_SCALE**-level - 1) / 2
    width = max(round(sigma * 5) | 1, 3)
    # The full-size level is blurred by binomial weights, a Gaussian of unnamed deviation three wide.
    weights = _gaussian(width, sigma, frames) if level else frames.new_tensor([0.25, 0.5, 0.25])
    half = width // 2
    padded = F.pad(frames, (half, half, half, half), mode="reflect")
    blurred = F.conv2d(F.conv2d(padded, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))
    return F.interpolate(blurred, size=size, mode="bilinear")


def _gaussian(width: int, sigma: float, like: Tensor) -> Tensor:
    offset = torch.arange(width, dtype=torch.float64) - width // 2
    weights = torch.exp(-(offset**2) / (2 * sigma**2))
    return (weights / weights.sum()).to(like)


@cache
def _expansion() -> _Expansion:
    """From the normal equations of a quadratic fit under a separable Gaussian weight."""
    offset = torch.arange(-POLY_N, POLY_N + 1, dtype=torch.float64)
    weight = _gaussian(2 * POLY_N + 1, POLY_SIGMA, offset)
    # Moments of the two-dimensional weight: of 1, x^2, x^4 and x^2 y^2. Odd ones vanish.
    second, fourth = (weight * offset**2).sum(), (weight * offset**4).sum()
    cross = second * second
    # Unknowns 1, x^2, y^2 are coupled; x, y and xy stand alone.
    coupled = torch.stack(
        [
            torch.stack([torch.ones_like(second), second, second]),
            torch.stack([second, fourth, cross]),
            torch.stack([second, cross, fourth]),
        ]
    ).inverse()
    filters = torch.stack([weight, offset * weight, offset**2 * weight])
    return _Expansion(filters, float(1 / second), float(coupled[0, 1]), float(coupled[1, 1]), float(1 / cross))


def _expanded(frames: Tensor) -> Tensor:
    """The polynomial around each pixel: (T, 1, H, W) to (T, 5, H, W): y, x, y^2, x^2, xy."""
    fit = _expansion()
    filters = fit.filters.to(frames)
    rows = F.conv2d(F.pad(frames, (0, 0, POLY_N, POLY_N), mode="replicate"), filters.view(3, 1, -1, 1))
    columns = F.pad(rows, (POLY_N, POLY_N, 0, 0), mode="replicate")
    # Moments in y (the rows' channel) times moments in x (the filters).
    level, linear, square = (F.conv2d(columns[:, k : k + 1], filters.view(3, 1, 1, -1)) for k in range(3))
    one, x, xx = level.unbind(1)
    y, xy, _ = linear.unbind(1)
    yy = square[:, 0]
    # The coupled fit: cross terms of x^2 in y's and the other way vanish once the constant is taken out.
    return torch.stack(
        [
            y * fit.linear,
            x * fit.linear,
            one * fit.mixed + yy * fit.square,
            one * fit.mixed + xx * fit.square,
            xy * fit.cross,
        ],
        dim=1,
    )


def _equations(first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
    """The normal equations of each pixel's displacement, averaged over the window: (P, 5, H, W).

    Args:
        first: expansions of the first frames, (P, 5, H, W).
        second: of the second ones.
        flow: where a pixel is thought to have gone, (P, 2, H, W).
    """
    seen = _sampled(second, first, flow)
    dx, dy = flow.unbind(1)
    a_yy, a_xx = ((first[:, k] + seen[:, k]) / 2 for k in (2, 3))
    a_xy = (first[:, 4] + seen[:, 4]) / 4
    b_y = (first[:, 0] - seen[:, 0]) / 2 + a_yy * dy + a_xy * dx
    b_x = (first[:, 1] - seen[:, 1]) / 2 + a_xy * dy + a_xx * dx
    scale = _border(first)
    a_yy, a_xx, a_xy, b_y, b_x = (value * scale for value in (a_yy, a_xx, a_xy, b_y, b_x))
    terms = [
        a_yy * a_yy + a_xy * a_xy,
        (a_yy + a_xx) * a_xy,
        a_xx * a_xx + a_xy * a_xy,
        a_yy * b_y + a_xy * b_x,
        a_xy * b_y + a_xx * b_x,
    ]
    half = WINDOW // 2
    padded = F.pad(torch.stack(terms, dim=1), (half, half, half, half), mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(padded, (WINDOW, 1), 1), (1, WINDOW), 1)


def _sampled(second: Tensor, first: Tensor, flow: Tensor) -> Tensor:
    """`second` where each pixel has gone; where that is outside, no gradient and the first frame's curvature."""
    height, width = flow.shape[-2:]
    y, x = torch.meshgrid(*(torch.arange(n, device=flow.device) for n in (height, width)), indexing="ij")
    at_x, at_y = x + flow[:, 0], y + flow[:, 1]
    grid = torch.stack([2 * at_x / (width - 1) - 1, 2 * at_y / (height - 1) - 1], dim=-1)
    found = F.grid_sample(second, grid, mode="bilinear", align_corners=True)
    inside = (at_x >= 0) & (at_x < width - 1) & (at_y >= 0) & (at_y < height - 1)
    outside = torch.cat([torch.zeros_like(first[:, :2]), first[:, 2:]], dim=1)
    return torch.where(inside[:, None], found, outside)


def _border(like: Tensor) -> Tensor:
    """How much each pixel counts: (H, W)."""
    sides = []
    for length in like.shape[-2:]:
        side = torch.ones(length, device=like.device, dtype=like.dtype)
        for k, weight in enumerate(_BORDER[:length]):
            side[k] *= weight
            side[length - 1 - k] *= weight
        sides.append(side)
    return sides[0][:, None] * sides[1]


def _solved(equations: Tensor) -> Tensor:
    """(P, 5, H, W) to the displacement (P, 2, H, W), x then y."""
    a, b, c, first, second = equations.unbind(1)
    determinant = a * c - b * b + _SINGULAR
    return torch.stack([(a * second - b * first) / determinant, (c * first - b * second) / determinant], dim=1)
