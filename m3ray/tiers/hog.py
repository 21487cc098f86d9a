"""Histograms of oriented gradients (Dalal and Triggs 2005), batched."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from m3ray.errors import ShapeError
from m3ray.tiers.constants import constant

ORIENTATIONS = 9
CELL = 8
BLOCK = 2
SIZE = 256
LENGTH = ((SIZE // CELL - BLOCK + 1) ** 2) * BLOCK * BLOCK * ORIENTATIONS
EPSILON = 1e-5
CLIP = 0.2
_LEVELS = 511  # a difference of two 8-bit values takes this many values


def hog(rgb: Tensor) -> Tensor:
    """HOG descriptors of colour images: 9 orientations, 8x8 cells, 2x2 blocks, L2-Hys.

    Each pixel takes its strongest channel, chosen on 8-bit values so that ties are exact: the first channel wins.
    Agrees with scikit-image's `hog(..., channel_axis=-1)` of the 8-bit image.

    Args:
        rgb: colours in [0, 1], rounded to 8 bits inside, (B, 3, 256, 256).
    Returns:
        (B, 34596), float32.
    Raises:
        ShapeError: If `rgb` is not (B, 3, 256, 256), or not floating.
    """
    if rgb.ndim != 4 or rgb.shape[1:] != (3, SIZE, SIZE) or not rgb.is_floating_point():
        raise ShapeError(f"expected rgb as (B, 3, {SIZE}, {SIZE}) in [0, 1], got {tuple(rgb.shape)}, {rgb.dtype}")
    return hog_of_bytes((rgb * 255).round().clamp(0, 255).to(torch.uint8))


def hog_of_bytes(rgb: Tensor) -> Tensor:
    """HOG descriptors of 8-bit images, the same as those of `hog`.

    Args:
        rgb: uint8, (B, 3, 256, 256).
    Returns:
        (B, 34596), float32.
    """
    if rgb.device.type != "cpu":
        # 64 of them take 0.4 GB.
        return torch.cat([hog_of_planes(part.float()) for part in rgb.split(64)])
    # A few frames at a time: their intermediates then stay in the cache.
    return torch.cat([_describe(part.to(torch.int32)) for part in rgb.split(2)])


def hog_of_planes(rgb: Tensor) -> Tensor:
    """HOG descriptors of 8-bit images, in few launches and with no sum in the order of threads: for GPUs.

    Args:
        rgb: whole numbers in [0, 255], float32, (B, 3, 256, 256).
    Returns:
        (B, 34596), float32.
    """
    return _normalise_blocks(_bag_cells(_compare_channels(rgb)))


def _compare_channels(rgb: Tensor) -> Tensor:
    """What `_gradient_codes` gives, of floats, which hold all of its integers: (B, H, W)."""
    # Mirrored, so that the difference across the border is zero.
    padded = functional.pad(rgb, (1, 1, 1, 1), mode="reflect")
    rows = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    columns = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    strength = (rows * rows).addcmul_(columns, columns)
    best = strength.argmax(dim=1, keepdim=True)  # of equal ones the first
    code = columns.add_(rows, alpha=_LEVELS).gather(1, best)[:, 0]
    return code.add_(255 * _LEVELS + 255)


def _bag_cells(code: Tensor) -> Tensor:
    """What `_cell_histograms` gives: each cell is a bag of pixels, looked up and added in order."""
    batch, height, width = code.shape
    histograms = constant(_gradient_histograms, device=code.device)
    cells = code.view(batch, height // CELL, CELL, width // CELL, CELL).transpose(2, 3)
    bags = cells.to(torch.int32, memory_format=torch.contiguous_format).view(-1, CELL**2)
    added = functional.embedding_bag(bags, histograms, mode="sum")
    return added.view(batch, height // CELL, width // CELL, ORIENTATIONS)


def _gradient_histograms() -> Tensor:
    """What a pixel of each gradient adds to its cell's histogram: (511 x 511, 9)."""
    magnitudes = _gradient_magnitudes() / CELL**2
    return magnitudes[:, None] * functional.one_hot(_gradient_orientations(), ORIENTATIONS)


def _describe(rgb: Tensor) -> Tensor:
    return _normalise_blocks(_cell_histograms(_gradient_codes(rgb)))


def _gradient_codes(rgb: Tensor) -> Tensor:
    """For each pixel one integer that stands for the gradient of its strongest channel: (B, H, W)."""
    # Central differences; zero at the border, as scikit-image has it.
    rows = functional.pad(rgb[:, :, 2:, :] - rgb[:, :, :-2, :], (0, 0, 1, 1))
    columns = functional.pad(rgb[:, :, :, 2:] - rgb[:, :, :, :-2], (1, 1, 0, 0))
    strength = rows * rows + columns * columns
    red, green, blue = strength.unbind(1)
    code = (rows + 255) * _LEVELS + (columns + 255)
    best = torch.where(green > red, code[:, 1], code[:, 0])
    return torch.where(blue > torch.maximum(red, green), code[:, 2], best)


def _cell_histograms(code: Tensor) -> Tensor:
    """Orientation histograms of the cells, mean magnitude a pixel: (B, cells, cells, 9)."""
    batch, height, width = code.shape
    magnitude = constant(_gradient_magnitudes, device=code.device)
    orientation = constant(_gradient_orientations, device=code.device, dtype=torch.int64)
    flat = code.flatten()
    cells = (batch, height // CELL, CELL, width // CELL, CELL)
    return _add_by_index(orientation[flat].view(cells), magnitude[flat].view(cells)) / CELL**2


def _add_by_index(bins: Tensor, magnitudes: Tensor) -> Tensor:
    """Sum of each cell's magnitudes in each bin: twice (B, cells, 8, cells, 8) to (B, cells, cells, 9)."""
    batch, rows, _, columns, _ = bins.shape
    cell = torch.arange(batch * rows * columns, device=bins.device).view(batch, rows, 1, columns, 1)
    histogram = torch.zeros(batch * rows * columns * ORIENTATIONS, device=bins.device)
    histogram.index_add_(0, (cell * ORIENTATIONS + bins).flatten(), magnitudes.flatten())
    return histogram.view(batch, rows, columns, ORIENTATIONS)


def _gradients() -> tuple[Tensor, Tensor]:
    """Every gradient that 8-bit images can have, along rows and along columns, (511, 511) both."""
    levels = torch.arange(-255, 256, dtype=torch.float64)
    rows, columns = torch.meshgrid(levels, levels, indexing="ij")
    return rows, columns


def _gradient_magnitudes() -> Tensor:
    return torch.hypot(*_gradients()).flatten()


def _gradient_orientations() -> Tensor:
    degrees = torch.rad2deg(torch.atan2(*_gradients())) % 180
    return (degrees / (180 / ORIENTATIONS)).floor().long().clamp(max=ORIENTATIONS - 1).flatten()


def _normalise_blocks(cells: Tensor) -> Tensor:
    """L2-Hys over overlapping blocks of cells, flattened as scikit-image orders them."""
    blocks = cells.unfold(1, BLOCK, 1).unfold(2, BLOCK, 1)  # (B, rows, columns, 9, 2, 2)
    blocks = blocks.permute(0, 1, 2, 4, 5, 3).flatten(3)
    # L2-Hys: v / sqrt(|v|^2 + e^2), clipped at 0.2, and normalised again
    blocks = _l2_normalise(blocks).clamp(max=CLIP)
    return _l2_normalise(blocks).flatten(1)


def _l2_normalise(blocks: Tensor) -> Tensor:
    return blocks / (blocks.square().sum(dim=-1, keepdim=True) + EPSILON**2).sqrt()
