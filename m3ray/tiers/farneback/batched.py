"""Optical flow in PyTorch, batched over the frames of any clips: for GPUs, which OpenCV's wheel does not use.

A launch costs a GPU as much as thousands of pixels, so what is linear is a product with a matrix (`matrices`), and the
planes of an equation lie so that several of them are computed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from m3ray.tiers.constants import constant
from m3ray.tiers.farneback import matrices
from m3ray.tiers.farneback.definition import ITERATIONS, PYRAMID_SCALE, SINGULAR, level_size, pyramid_depth


class Level(NamedTuple):
    """The constants of a level, on its device; see the functions of `matrices` of these names.

    Args:
        places: `pixel_places`.
        last: `last_places`.
        scale: `grid_scale`.
        share: `share_of` the second frame.
        rows: `window_mean` of an axis of rows.
        columns: `window_mean` of an axis of columns, transposed.
        corner: 0 and -1, where places and `grid_sample`'s count begin, (2,).
    """

    places: Tensor
    last: Tensor
    scale: Tensor
    share: Tensor
    rows: Tensor
    columns: Tensor
    corner: Tensor


Improve = Callable[[Tensor, Tensor, Tensor, Tensor, Level], Tensor]


def improve_flow(first: Tensor, second: Tensor, outside: Tensor, flow: Tensor, level: Level) -> Tensor:
    """Improve displacements by one iteration.

    Args:
        first: the first frame's share of each pair's planes, (P, 5, H, W).
        second: the second frame's planes, (P, 5, H, W).
        outside: what the pair's planes are where the second frame is left, (P, 5, H, W).
        flow: displacement of each pixel, x then y, pixels, (P, 2, H, W).
        level: the constants.
    Returns:
        The displacements that solve the equations at `flow`, (P, 2, H, W).
    """
    return _solve(_average(_multiply(_compare(first, second, outside, flow, level)), level))


def flows(frames: Tensor, lengths: Sequence[int] | None = None, step: Improve = improve_flow) -> Tensor:
    """Displacements between consecutive frames (Farneback 2003, two-frame polynomial expansion).

    Args:
        frames: values in [0, 255], float32, (T, H, W), H and W at least `MIN_SIDE`.
        lengths: frames of each clip, end to end in `frames`, at least one pair in all; None for one clip.
        step: function that improves displacements as `improve_flow` does, say compiled.
    Returns:
        Displacement of each pixel, x then y, in pixels a frame, one for each pair of frames of one clip, in order,
        (T - clips, 2, H, W).
    """
    lengths = [len(frames)] if lengths is None else lengths
    size, deepest = frames.shape[-2:], pyramid_depth(frames.shape[-2:])
    flow = frames.new_zeros(len(frames) - len(lengths), 2, *level_size(size, deepest))
    for level in range(deepest, -1, -1):
        if level < deepest:
            enlarged = functional.interpolate(flow, size=level_size(size, level), mode="bilinear")
            flow = enlarged.mul_(1 / PYRAMID_SCALE)
        first, second = _pair(_expand(frames, level), lengths)
        first = first * constant(matrices.share_of, 0, *flow.shape[-2:], device=flow.device)
        outside = first * constant(matrices.outside_factors, device=flow.device)
        constants = place_level(flow.shape[-2:], flow.device)
        for _ in range(ITERATIONS):
            flow = step(first, second, outside, flow, constants)
    return flow


def place_level(size: torch.Size, device: torch.device) -> Level:
    """Place the constants of a level on a device, once.

    Args:
        size: height and width of the level.
        device: device that computes.
    """
    height, width = size

    def place(make: Callable[..., Tensor], *arguments: int) -> Tensor:
        return constant(make, *arguments, device=device)

    return Level(
        places=place(matrices.pixel_places, height, width),
        last=place(matrices.last_places, height, width),
        scale=place(matrices.grid_scale, height, width),
        share=place(matrices.share_of, 1, height, width),
        rows=place(matrices.window_mean, height),
        columns=place(matrices.window_mean, width).T,
        corner=place(_corner),
    )


def _corner() -> Tensor:
    return torch.tensor([0.0, -1.0])


def _expand(frames: Tensor, level: int) -> Tensor:
    """Planes of the polynomial around each pixel of the frames, blurred and reduced: (T, H, W) to (T, 5, h, w)."""
    count, height, width = frames.shape
    rows, columns = level_size(frames.shape[-2:], level)
    along_x = frames.view(count * height, width) @ constant(
        matrices.expansion_columns, width, level, device=frames.device
    )
    along_x = along_x.view(count, height, 3, columns)
    planes = frames.new_empty(count, 5, rows, columns)
    for column, (start, end) in enumerate(((0, 2), (2, 4), (4, 5))):
        filters = constant(matrices.expansion_rows, height, level, column, device=frames.device)
        out = planes[:, start:end].flatten(1, 2)
        torch.bmm(filters.expand(count, *filters.shape), along_x[:, :, column], out=out)
    return planes


def _pair(planes: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """First and second frame of the pairs of consecutive frames of each clip: none has frames of two."""
    if len(lengths) == 1:
        return planes[:-1], planes[1:]
    clips = planes.split(list(lengths))
    return torch.cat([clip[:-1] for clip in clips]), torch.cat([clip[1:] for clip in clips])


def _compare(first: Tensor, second: Tensor, outside: Tensor, flow: Tensor, level: Level) -> Tensor:
    """The pair's planes at the displacements, yy, y, -xy, -x and xx, weighted: (P, 5, H, W).

    A = (A1 + A2) / 2, b = (b1 - b2) / 2 + A d, with A2 and b2 taken where the displacement d leads (Farneback 2003).
    """
    at = flow + level.places
    is_inside = (at.clamp(level.corner[0], level.last) == at).all(dim=1, keepdim=True)
    grid = torch.addcmul(level.corner[1], at, level.scale).movedim(1, -1)
    moved = functional.grid_sample(second, grid, mode="bilinear", align_corners=True)
    planes = torch.where(is_inside, torch.addcmul(first, moved, level.share), outside)
    # b_y and -b_x: the first column of (yy, -xy; -xy, xx) times d_y, the second times -d_x.
    planes[:, 1:4:2].addcmul_(planes[:, 0:3:2], flow[:, 1:]).addcmul_(planes[:, 2:5:2], flow[:, :1], value=-1)
    return planes


def _multiply(planes: Tensor) -> Tensor:
    """The adjugate of A'A, yy, -xy and xx of it as planes 0, 1 and 4, and A'b, y and -x of it as 2 and 3."""
    # Twice the symmetric (yy, -xy; -xy, xx), by its own first column and by (b_y, -b_x).
    four = (planes[:, 0:2, None] * planes[:, None, 0:3:2]).addcmul_(planes[:, 2:4, None], planes[:, None, 2:5:2])
    last = planes[:, 2:3].square().addcmul_(planes[:, 4:], planes[:, 4:])
    return torch.cat([four.flatten(1, 2), last], dim=1)


def _average(products: Tensor, level: Level) -> Tensor:
    """The mean of each plane over the window around each pixel."""
    height, width = products.shape[-2:]
    along_x = (products.view(-1, width) @ level.columns).view(-1, height, width)
    return torch.bmm(level.rows.expand(len(along_x), -1, -1), along_x).view_as(products)


def _solve(equations: Tensor) -> Tensor:
    """Displacements that solve the equations: (P, 5, H, W) as `_multiply` has them to (P, 2, H, W), x then y."""
    # d = adj(A'A) A'b / det. Two roundings, as in OpenCV: a fused one would make a singular system's determinant less
    # than nothing.
    yy, xy, y, minus_x, xx = equations.split(1, dim=1)
    determinant = (yy * xx).sub_(xy * xy).add_(SINGULAR)
    displacement = y * equations[:, 1:5:3]
    return displacement.addcmul_(minus_x, equations[:, 0:2], value=-1).div_(determinant)
