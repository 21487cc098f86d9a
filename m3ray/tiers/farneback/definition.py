"""Farneback's dense optical flow (2003) as OpenCV defines it: settings, pyramid and polynomial fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

# The settings of the reference figures.
PYRAMID_SCALE, LEVELS, WINDOW, ITERATIONS, POLY_N, POLY_SIGMA = 0.5, 3, 15, 3, 5, 1.2
_MIN_LEVEL_SIDE = 32  # pixels: no level is smaller
# Weights of the pixels at the border, from the outermost inwards; all others have weight 1.
_BORDER = (0.14, 0.14, 0.4472, 0.4472, 0.4472)
# The least pixels a side for which this definition is OpenCV's. Below, the two borders meet, and OpenCV's test of
# whether a pixel is near one wraps around an unsigned number: of 6 to 9 pixels it gives the middle ones less weight and
# the others 1, where this definition gives all of them less.
MIN_SIDE = 2 * len(_BORDER)
SINGULAR = 1e-3  # added to the determinant where a window has no structure


@dataclass(frozen=True)
class ExpansionWeights:
    """Weights of the polynomial fit around a pixel, f(x, y) = c + b_x x + b_y y + a_xx x^2 + a_yy y^2 + a_xy x y.

    Args:
        filters: the Gaussian times 1, x and x^2, float64, (3, 2 POLY_N + 1).
        linear: entry of the normal equations' inverse for b_x and b_y.
        mixed: entry that couples a_xx and a_yy to the constant.
        square: entry for a_xx and a_yy.
        cross: entry for a_xy.
    """

    filters: Tensor
    linear: float
    mixed: float
    square: float
    cross: float


def pyramid_depth(size: torch.Size) -> int:
    """How often a frame is halved: at most `LEVELS` times, while 32 pixels or more are left.

    Args:
        size: height and width of the frame, pixels.
    """
    fitting = [k for k in range(1, LEVELS + 1) if min(size) * PYRAMID_SCALE**k >= _MIN_LEVEL_SIDE]
    return max(fitting, default=0)


def level_size(size: torch.Size, level: int) -> tuple[int, int]:
    """Height and width of a frame at a level of the pyramid.

    Args:
        size: height and width of the frame, pixels.
        level: number of halvings, 0 for the full size.
    """
    return round(size[0] * PYRAMID_SCALE**level), round(size[1] * PYRAMID_SCALE**level)


def level_blur(level: int) -> tuple[int, float]:
    """The Gaussian that blurs a frame before it is reduced to a level.

    Args:
        level: number of halvings.
    Returns:
        Width of the filter and its standard deviation, both in pixels of the full size.
    """
    sigma = (PYRAMID_SCALE**-level - 1) / 2
    return max(round(sigma * 5) | 1, 3), sigma


def gaussian(width: int, sigma: float) -> Tensor:
    """Weights of a Gaussian filter, which sum to 1.

    Args:
        width: number of weights, odd.
        sigma: standard deviation, pixels.
    Returns:
        (width,), float64.
    """
    offset = torch.arange(width, dtype=torch.float64) - width // 2
    weights = torch.exp(-(offset**2) / (2 * sigma**2))
    return weights / weights.sum()


@cache
def expansion_weights() -> ExpansionWeights:
    """The weights of a quadratic fit under a separable Gaussian, from its normal equations (Farneback 2003, section 3).

    The fit r minimises the squared error under the weight w over the basis B: r = (B' W B)^-1 B' W f.
    """
    offset = torch.arange(-POLY_N, POLY_N + 1, dtype=torch.float64)
    weight = gaussian(2 * POLY_N + 1, POLY_SIGMA)
    # Moments of the two-dimensional weight: of x^2, x^4 and x^2 y^2. That of 1 is 1, and odd ones vanish.
    second, fourth = (weight * offset**2).sum(), (weight * offset**4).sum()
    cross = second * second
    # B' W B couples the unknowns of 1, x^2 and y^2; those of x, y and xy stand alone.
    coupled = torch.stack(
        [
            torch.stack([torch.ones_like(second), second, second]),
            torch.stack([second, fourth, cross]),
            torch.stack([second, cross, fourth]),
        ]
    ).inverse()
    filters = torch.stack([weight, offset * weight, offset**2 * weight])
    return ExpansionWeights(filters, float(1 / second), float(coupled[0, 1]), float(coupled[1, 1]), float(1 / cross))


def blur_filter(level: int) -> Tensor:
    """Weights of the filter that blurs a frame before it is reduced to a level, which sum to 1.

    Args:
        level: number of halvings; at 0 OpenCV blurs by binomial weights, its Gaussian of width 3 without a deviation.
    Returns:
        (width,), float64.
    """
    return gaussian(*level_blur(level)) if level else torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)


def border_plane(height: int, width: int) -> Tensor:
    """The weight of each pixel.

    Args:
        height: number of rows.
        width: number of columns.
    Returns:
        (height, width), float32.
    """
    tall, wide = (torch.tensor(border_weights(length)) for length in (height, width))
    return tall[:, None] * wide


def border_weights(length: int) -> list[float]:
    """The weight of each row, or of each column, of a frame.

    Args:
        length: number of rows or columns.
    """
    side = [1.0] * length
    for k, weight in enumerate(_BORDER[:length]):
        side[k] *= weight
        side[length - 1 - k] *= weight
    return side
