"""The linear steps of Farneback's flow as matrices, one an axis: for GPUs, where a launch costs more than a product.

Blur, reduction and polynomial fit of a level are one linear map of an axis, borders included, and so is the mean over
the window. A frame goes through them in two products, one from each side, however many filters they stand for.

Of a polynomial c + b_x x + b_y y + a_xx x^2 + a_yy y^2 + a_xy x y the five planes are, in this order, a_yy, b_y, -a_xy,
-b_x and a_xx. So what shares a filter along x lies together, and the adjugate of a pixel's 2x2 system needs no sign
changed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from m3ray.tiers.farneback.definition import (
    POLY_N,
    WINDOW,
    blur_filter,
    border_plane,
    expansion_weights,
    level_size,
)

# Shares of the first and of the second frame's planes in the pair's: means of curvatures, half the change of gradients.
# The mixed curvature counts half, as a_xy is twice the off-diagonal entry of the polynomial's matrix.
_SHARES = ((0.5, 0.5, 0.25, 0.5, 0.5), (0.5, -0.5, 0.25, -0.5, 0.5))
# Outside the frame the second has no gradient and the first's curvature: the pair's planes as multiples of the first's.
_OUTSIDE = (2.0, 1.0, 2.0, 1.0, 2.0)


def expansion_columns(length: int, level: int) -> Tensor:
    """What frames are multiplied by from the right: three filters along x, for the planes of `expansion_rows`.

    Args:
        length: columns of the frame at its full size.
        level: number of halvings.
    Returns:
        float64, (length, 3 x columns at the level): of 1, x, and x^2.
    """
    fit, (one, linear, square) = expansion_weights(), _moments(length, level)
    columns = torch.stack([one, linear * fit.linear, one * fit.mixed + square * fit.square])
    return columns.flatten(0, 1).T


def expansion_rows(length: int, level: int, column: int) -> Tensor:
    """What frames are multiplied by from the left, after one of the filters along x.

    Args:
        length: rows of the frame at its full size.
        level: number of halvings.
        column: filter along x: 0 for 1, 1 for x, 2 for x^2.
    Returns:
        float64, (planes x rows at the level, length): planes yy and y of filter 0, -xy and -x of 1, xx of 2.
    """
    fit, (one, linear, square) = expansion_weights(), _moments(length, level)
    filters = {
        0: (one * fit.mixed + square * fit.square, linear * fit.linear),
        1: (-linear * (fit.cross / fit.linear), -one),
        2: (one,),
    }
    return torch.cat(filters[column])


def _moments(length: int, level: int) -> Tensor:
    """The moments of 1, t and t^2 around each place of an axis that is blurred and reduced: (3, reduced, length)."""
    weights, filters = blur_filter(level), expansion_weights().filters
    impulses = torch.eye(length, dtype=torch.float64)[:, None]
    half = len(weights) // 2
    blurred = functional.conv1d(functional.pad(impulses, (half, half), mode="reflect"), weights.view(1, 1, -1))
    size = level_size(torch.Size((length, length)), level)[:1]
    reduced = functional.interpolate(blurred, size=size, mode="linear")
    moments = functional.conv1d(functional.pad(reduced, (POLY_N, POLY_N), mode="replicate"), filters[:, None])
    return moments.permute(1, 2, 0)


def window_mean(length: int) -> Tensor:
    """The mean over a window of `WINDOW` places along an axis, whose ends are repeated.

    Args:
        length: places.
    Returns:
        float64, (length, length): row by row the weights of each mean.
    """
    impulses, half = torch.eye(length, dtype=torch.float64)[:, None], WINDOW // 2
    return functional.avg_pool1d(functional.pad(impulses, (half, half), mode="replicate"), WINDOW, 1)[:, 0].T


def share_of(frame: int, height: int, width: int) -> Tensor:
    """What a frame's planes count in its pair's, less at the frame's border.

    Args:
        frame: 0 for the pair's first frame, 1 for its second.
        height: rows of the level.
        width: columns of the level.
    Returns:
        float32, (5, height, width).
    """
    return torch.tensor(_SHARES[frame])[:, None, None] * border_plane(height, width)


def outside_factors() -> Tensor:
    """The pair's planes where the second frame is left, as multiples of the first frame's share: float32, (5, 1, 1)."""
    return torch.tensor(_OUTSIDE)[:, None, None]


def pixel_places(height: int, width: int) -> Tensor:
    """The place of each pixel, x then y.

    Args:
        height: rows of the level.
        width: columns of the level.
    Returns:
        float32, (2, height, width).
    """
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y]).float()


def last_places(height: int, width: int) -> Tensor:
    """The largest x and y that lie inside: just below the last column and the last row.

    Args:
        height: rows of the level.
        width: columns of the level.
    Returns:
        float32, (2, 1, 1).
    """
    ends = torch.tensor([width - 1.0, height - 1.0])
    return torch.nextafter(ends, torch.zeros(2))[:, None, None]


def grid_scale(height: int, width: int) -> Tensor:
    """What a place is multiplied by for `grid_sample`, which counts from -1 to 1.

    Args:
        height: rows of the level.
        width: columns of the level.
    Returns:
        float32, (2, 1, 1).
    """
    return 2 / torch.tensor([width - 1.0, height - 1.0])[:, None, None]
