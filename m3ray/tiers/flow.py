"""Dense optical flow between consecutive frames.

One definition, OpenCV's, computed in two ways: on a GPU all frames of a clip at once in PyTorch (`farneback.flows`), on
a CPU compiled by Numba (`farneback.compiled`). OpenCV itself computes it where Numba does not work, and for frames that
are smaller than `MIN_SIDE` or, on a CPU, wider than `compiled.MAX_WIDTH`.

Where a frame has structure in one direction alone (a plain gradient) the system is singular: OpenCV differs from itself
by a tenth between the instruction sets of two processors, and from the code here by more.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import ModuleType

import cv2
import numpy as np
import torch
from torch import Tensor

from m3ray.tiers.farneback import Improve, flows, improve_flow
from m3ray.tiers.farneback.definition import (
    ITERATIONS,
    LEVELS,
    MIN_SIDE,
    POLY_N,
    POLY_SIGMA,
    PYRAMID_SCALE,
    WINDOW,
)
from m3ray.tiers.raw import check_luma

_AT_ONCE = 64  # frames on a GPU: their polynomials and equations take about 3 MB each


def mean_optical_flow(gray: Tensor) -> Tensor:
    """Mean magnitude of dense optical flow between consecutive frames.

    Farneback 2003, two-frame polynomial expansion; the paper's feature "meanOF". Computed on 8-bit frames.

    Args:
        gray: luma in [0, 1], floating, (B, T, H, W), T >= 1.
    Returns:
        Pixels a frame, float32, (B,); 0 where T == 1.
    Raises:
        ShapeError: If `gray` is not four-dimensional.
    """
    check_luma(gray)
    frames = (gray * 255).round().clamp(0, 255)
    if gray.device.type != "cpu" and min(gray.shape[-2:]) >= MIN_SIDE:
        return torch.stack([batch_flow(clip.float()) for clip in frames])
    pixels = frames.to(torch.uint8).numpy(force=True)
    values = [np.mean(pair_flows(clip)) if len(clip) > 1 else 0.0 for clip in pixels]
    return torch.tensor(values, dtype=torch.float32, device=gray.device)


def batch_flow(frames: Tensor) -> Tensor:
    """Mean flow magnitude of a clip, in PyTorch on any device.

    Args:
        frames: values in [0, 255], float32, (T, H, W), H and W at least `MIN_SIDE`.
    Returns:
        Pixels a frame, (); 0 where T == 1.
    """
    total = frames.new_zeros(())
    for start in range(0, len(frames) - 1, _AT_ONCE):
        part = frames[start : start + _AT_ONCE + 1]
        total = total + pair_magnitudes(part, [len(part)]).sum()
    return total / max(1, len(frames) - 1)


def pair_magnitudes(frames: Tensor, lengths: Sequence[int], step: Improve = improve_flow) -> Tensor:
    """Mean flow magnitude of each pair of consecutive frames of one clip, in PyTorch on any device, all pairs at once.

    Args:
        frames: values in [0, 255], float32, (T, H, W), H and W at least `MIN_SIDE`.
        lengths: frames of each clip, end to end in `frames`.
        step: function that improves displacements as `farneback.improve_flow` does, say compiled.
    Returns:
        Pixels a frame, (T - clips,).
    """
    if len(frames) == len(lengths):
        return frames.new_zeros(0)
    # sqrt(dx^2 + dy^2), mean over the pixels of each pair
    return torch.linalg.vector_norm(flows(frames, lengths, step), dim=1).mean(dim=(1, 2))


def pair_flows(frames: np.ndarray) -> list[float]:
    """Mean flow magnitude of each pair of consecutive frames, on the CPU.

    Args:
        frames: uint8, (T, H, W), of any size.
    Returns:
        T - 1 magnitudes, pixels a frame.
    """
    height, width = frames.shape[1:]
    compiled = _import_compiled()
    if compiled and min(height, width) >= MIN_SIDE and width <= compiled.MAX_WIDTH:
        return list(compiled.mean_flows(frames))
    return [opencv_flow(first, second) for first, second in itertools.pairwise(frames)]


@cache
def _import_compiled() -> ModuleType | None:
    """The compiled code; None where Numba cannot work, such as where it finds no folder for its cache."""
    try:
        return import_module("m3ray.tiers.farneback.compiled")
    except (ImportError, RuntimeError) as error:
        warnings.warn(
            f"Optical flow by OpenCV, about three times slower, because Numba does not work here: {error}. "
            "If it lacks a folder, set NUMBA_CACHE_DIR to one that can be written.",
            stacklevel=2,
        )
        return None


def opencv_flow(first: np.ndarray, second: np.ndarray) -> float:
    """Mean flow magnitude of one pair of frames, by OpenCV.

    Args:
        first: uint8, (H, W).
        second: the frame after it, uint8, (H, W).
    Returns:
        Pixels a frame.
    """
    displacement = cv2.calcOpticalFlowFarneback(
        first,
        second,
        np.empty((*first.shape, 2), np.float32),
        PYRAMID_SCALE,
        LEVELS,
        WINDOW,
        ITERATIONS,
        POLY_N,
        POLY_SIGMA,
        0,
    )
    return float(cv2.magnitude(displacement[..., 0], displacement[..., 1]).mean())
