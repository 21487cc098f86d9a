"""Flow in PyTorch, batched over frames: for GPUs, where OpenCV's wheel has none."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from m3ray.tiers.farneback.definition import (
    ITERATIONS,
    POLY_N,
    PYRAMID_SCALE,
    SINGULAR,
    WINDOW,
    blur_of_level,
    border,
    depth,
    expansion,
    gaussian,
    scaled,
)


def flows(frames: Tensor) -> Tensor:
    """Flow between consecutive frames.

    Args:
        frames: (T, H, W), float32, values in [0, 255], T >= 2.
    Returns:
        (T - 1, 2, H, W), x then y, pixels a frame.
    """
    size, deepest = frames.shape[-2:], depth(frames.shape[-2:])
    found = frames.new_zeros(len(frames) - 1, 2, *scaled(size, deepest))
    for level in range(deepest, -1, -1):
        here = scaled(size, level)
        if level < deepest:
            found = F.interpolate(found, size=here, mode="bilinear") / PYRAMID_SCALE
        expanded = _expanded(_reduced(frames[:, None], level, here))
        for _ in range(ITERATIONS):
            found = _solved(_equations(expanded[:-1], expanded[1:], found))
    return found


def _reduced(frames: Tensor, level: int, size: tuple[int, int]) -> Tensor:
    """(T, 1, H, W) blurred as much as the level's reduction needs, then reduced."""
    width, sigma = blur_of_level(level)
    # The full-size level is blurred by binomial weights, a Gaussian of unnamed deviation three wide.
    weights = gaussian(width, sigma, frames) if level else frames.new_tensor([0.25, 0.5, 0.25])
    half = width // 2
    padded = F.pad(frames, (half, half, half, half), mode="reflect")
    blurred = F.conv2d(F.conv2d(padded, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))
    return F.interpolate(blurred, size=size, mode="bilinear")


def _expanded(frames: Tensor) -> Tensor:
    """The polynomial around each pixel: (T, 1, H, W) to (T, 5, H, W): y, x, y^2, x^2, xy."""
    fit = expansion()
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
    tall, wide = (torch.tensor(border(length)).to(like) for length in like.shape[-2:])
    return tall[:, None] * wide


def _solved(equations: Tensor) -> Tensor:
    """(P, 5, H, W) to the displacement (P, 2, H, W), x then y."""
    a, b, c, first, second = equations.unbind(1)
    determinant = a * c - b * b + SINGULAR
    return torch.stack([(a * second - b * first) / determinant, (c * first - b * second) / determinant], dim=1)
