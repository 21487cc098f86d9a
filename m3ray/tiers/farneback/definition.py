"""Farneback's dense optical flow (2003) as OpenCV defines it: its settings, its pyramid, its polynomial fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

# The settings of the reference figures.
PYRAMID_SCALE, LEVELS, WINDOW, ITERATIONS, POLY_N, POLY_SIGMA = 0.5, 3, 15, 3, 5, 1.2
_SMALLEST = 32  # pixels: no level is smaller
# How much the pixels at the border count, from the outermost in; beyond them, whole.
_BORDER = (0.14, 0.14, 0.4472, 0.4472, 0.4472)
# Pixels, the smaller side of a frame from which on this definition is OpenCV's. Below, the two borders meet, and
# OpenCV's test of whether a pixel is near one wraps around an unsigned number: it weakens the middle of 6 to 9 pixels
# and leaves the rest whole, where this definition weakens all.
SMALLEST_SIDE = 2 * len(_BORDER)
SINGULAR = 1e-3  # added to the determinant where a window has no structure


@dataclass(frozen=True)
class Expansion:
    """Weights of the polynomial fit: 1, x, x^2 under a Gaussian, and the entries of the normal equations' inverse."""

    filters: Tensor
    linear: float
    mixed: float
    square: float
    cross: float


def depth(size: torch.Size) -> int:
    """Halvings of a frame that leave `_SMALLEST` pixels or more."""
    fitting = [k for k in range(1, LEVELS + 1) if min(size) * PYRAMID_SCALE**k >= _SMALLEST]
    return max(fitting, default=0)


def scaled(size: torch.Size, level: int) -> tuple[int, int]:
    """Height and width at a level."""
    return round(size[0] * PYRAMID_SCALE**level), round(size[1] * PYRAMID_SCALE**level)


def blur_of_level(level: int) -> tuple[int, float]:
    """Width in pixels and standard deviation of the Gaussian before a level's reduction."""
    sigma = (PYRAMID_SCALE**-level - 1) / 2
    return max(round(sigma * 5) | 1, 3), sigma


def gaussian(width: int, sigma: float, like: Tensor) -> Tensor:
    """Weights of a Gaussian that sum to 1, (width,)."""
    offset = torch.arange(width, dtype=torch.float64) - width // 2
    weights = torch.exp(-(offset**2) / (2 * sigma**2))
    return (weights / weights.sum()).to(like)


@cache
def expansion() -> Expansion:
    """From the normal equations of a quadratic fit under a separable Gaussian weight."""
    offset = torch.arange(-POLY_N, POLY_N + 1, dtype=torch.float64)
    weight = gaussian(2 * POLY_N + 1, POLY_SIGMA, offset)
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
    return Expansion(filters, float(1 / second), float(coupled[0, 1]), float(coupled[1, 1]), float(1 / cross))


def border(length: int) -> list[float]:
    """How much each row (or column) counts."""
    side = [1.0] * length
    for k, weight in enumerate(_BORDER[:length]):
        side[k] *= weight
        side[length - 1 - k] *= weight
    return side
