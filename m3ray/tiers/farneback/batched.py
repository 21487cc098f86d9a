"""Optical flow in PyTorch, batched over frames: for GPUs, which OpenCV's wheel does not use."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from m3ray.tiers.constants import constant
from m3ray.tiers.farneback.definition import (
    ITERATIONS,
    POLY_N,
    PYRAMID_SCALE,
    SINGULAR,
    WINDOW,
    blur_filter,
    border_plane,
    expansion_weights,
    level_size,
    pyramid_depth,
)


def flows(frames: Tensor) -> Tensor:
    """Displacements between consecutive frames (Farneback 2003, two-frame polynomial expansion).

    Args:
        frames: values in [0, 255], float32, (T, H, W), T >= 2, H and W at least `MIN_SIDE`.
    Returns:
        Displacement of each pixel, x then y, in pixels a frame, (T - 1, 2, H, W).
    """
    size, deepest = frames.shape[-2:], pyramid_depth(frames.shape[-2:])
    flow = frames.new_zeros(len(frames) - 1, 2, *level_size(size, deepest))
    for level in range(deepest, -1, -1):
        current_size = level_size(size, level)
        if level < deepest:
            flow = functional.interpolate(flow, size=current_size, mode="bilinear") / PYRAMID_SCALE
        polynomials = _expand(_reduce(frames[:, None], level, current_size))
        for _ in range(ITERATIONS):
            flow = _solve(_normal_equations(polynomials[:-1], polynomials[1:], flow))
    return flow


def _reduce(frames: Tensor, level: int, size: tuple[int, int]) -> Tensor:
    """Frames (T, 1, H, W) blurred as much as the level's reduction needs, then reduced to `size`."""
    weights = constant(blur_filter, level, device=frames.device)
    half = len(weights) // 2
    padded = functional.pad(frames, (half, half, half, half), mode="reflect")
    blurred = functional.conv2d(functional.conv2d(padded, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))
    return functional.interpolate(blurred, size=size, mode="bilinear")


def _expand(frames: Tensor) -> Tensor:
    """Coefficients of y, x, y^2, x^2 and xy of the polynomial around each pixel: (T, 1, H, W) to (T, 5, H, W)."""
    fit = expansion_weights()
    filters = constant(_expansion_filters, device=frames.device)
    rows = functional.conv2d(
        functional.pad(frames, (0, 0, POLY_N, POLY_N), mode="replicate"), filters.view(3, 1, -1, 1)
    )
    columns = functional.pad(rows, (POLY_N, POLY_N, 0, 0), mode="replicate")
    # Moments in y (the rows' channel) times moments in x (the filters).
    level, linear, square = (functional.conv2d(columns[:, k : k + 1], filters.view(3, 1, 1, -1)) for k in range(3))
    one, x, xx = level.unbind(1)
    y, xy, _ = linear.unbind(1)
    yy = square[:, 0]
    # In the coupled fit, the terms of x^2 in y^2's equation and the other way vanish once the constant is taken out.
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


def _expansion_filters() -> Tensor:
    return expansion_weights().filters


def _normal_equations(first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
    """The normal equations of each pixel's displacement, averaged over the window.

    Args:
        first: polynomials of the first frame of each pair, (P, 5, H, W).
        second: polynomials of the second frame of each pair, (P, 5, H, W).
        flow: the displacement that is to be improved, (P, 2, H, W).
    Returns:
        The entries of A'A, yy, xy and xx, and of A'b, y and x, (P, 5, H, W).
    """
    moved = _sample(second, first, flow)
    dx, dy = flow.unbind(1)
    # A = (A1 + A2) / 2, b = (b1 - b2) / 2 + A d, with A2 and b2 taken where the displacement d leads (Farneback 2003)
    a_yy, a_xx = ((first[:, k] + moved[:, k]) / 2 for k in (2, 3))
    a_xy = (first[:, 4] + moved[:, 4]) / 4
    b_y = (first[:, 0] - moved[:, 0]) / 2 + a_yy * dy + a_xy * dx
    b_x = (first[:, 1] - moved[:, 1]) / 2 + a_xy * dy + a_xx * dx
    scale = constant(border_plane, *first.shape[-2:], device=first.device)
    a_yy, a_xx, a_xy, b_y, b_x = (value * scale for value in (a_yy, a_xx, a_xy, b_y, b_x))
    terms = [
        a_yy * a_yy + a_xy * a_xy,
        (a_yy + a_xx) * a_xy,
        a_xx * a_xx + a_xy * a_xy,
        a_yy * b_y + a_xy * b_x,
        a_xy * b_y + a_xx * b_x,
    ]
    half = WINDOW // 2
    padded = functional.pad(torch.stack(terms, dim=1), (half, half, half, half), mode="replicate")
    return functional.avg_pool2d(functional.avg_pool2d(padded, (WINDOW, 1), 1), (1, WINDOW), 1)


def _sample(second: Tensor, first: Tensor, flow: Tensor) -> Tensor:
    """`second` where each pixel has moved to; outside the frame, no gradient and the first frame's curvature."""
    height, width = flow.shape[-2:]
    y, x = torch.meshgrid(*(torch.arange(n, device=flow.device) for n in (height, width)), indexing="ij")
    at_x, at_y = x + flow[:, 0], y + flow[:, 1]
    grid = torch.stack([2 * at_x / (width - 1) - 1, 2 * at_y / (height - 1) - 1], dim=-1)
    values = functional.grid_sample(second, grid, mode="bilinear", align_corners=True)
    is_inside = (at_x >= 0) & (at_x < width - 1) & (at_y >= 0) & (at_y < height - 1)
    outside = torch.cat([torch.zeros_like(first[:, :2]), first[:, 2:]], dim=1)
    return torch.where(is_inside[:, None], values, outside)


def _solve(equations: Tensor) -> Tensor:
    """Displacements that solve the normal equations: (P, 5, H, W) to (P, 2, H, W), x then y."""
    # d = (A'A)^-1 A'b, of a 2x2 matrix by its determinant
    a, b, c, first, second = equations.unbind(1)
    determinant = a * c - b * b + SINGULAR
    return torch.stack([(a * second - b * first) / determinant, (c * first - b * second) / determinant], dim=1)
