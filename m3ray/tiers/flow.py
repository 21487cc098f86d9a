"""Dense optical flow between consecutive frames.

One definition, OpenCV's, two ways: on a GPU all frames of a clip at once in PyTorch (`farneback.flows`), on a CPU
compiled by Numba (`farneback.compiled`). OpenCV itself serves where Numba does not work and frames that they do not
take: smaller than `SMALLEST_SIDE` or, on a CPU, wider than `compiled.WIDEST`.

Where a frame has structure in one direction alone (a plain gradient) the system is singular: OpenCV differs from itself
by a tenth from one processor's instructions to another's, and these from OpenCV by more.
"""

from __future__ import annotations

import itertools
import warnings
from functools import cache
from importlib import import_module
from types import ModuleType

import cv2
import numpy as np
import torch
from torch import Tensor

from m3ray.tiers.farneback import flows
from m3ray.tiers.farneback.definition import (
    ITERATIONS,
    LEVELS,
    POLY_N,
    POLY_SIGMA,
    PYRAMID_SCALE,
    SMALLEST_SIDE,
    WINDOW,
)
from m3ray.tiers.raw import check_luma

_AT_ONCE = 64  # frames on a GPU: their polynomials and equations take about 3 MB each


def mean_optical_flow(gray: Tensor) -> Tensor:
    """Mean magnitude of dense optical flow between consecutive frames.

    Farneback 2003, two-frame polynomial expansion; the paper's feature "meanOF". Computed on 8-bit frames.

    Args:
        gray: luma in [0, 1], float32, (B, T, H, W), T >= 1.
    Returns:
        Pixels a frame, float32, (B,); 0 where T == 1.
    Raises:
        ShapeError: `gray` is not four-dimensional.
    """
    check_luma(gray)
    frames = (gray * 255).round().clamp(0, 255)
    if gray.is_cuda and min(gray.shape[-2:]) >= SMALLEST_SIDE:
        return torch.stack([batched_flow(clip.float()) for clip in frames])
    bytes_ = frames.to(torch.uint8).numpy(force=True)
    values = [np.mean(pair_flows(clip)) if len(clip) > 1 else 0.0 for clip in bytes_]
    return torch.tensor(values, dtype=torch.float32, device=gray.device)


def batched_flow(frames: Tensor) -> Tensor:
    """Mean flow magnitude of a clip (T, H, W), values in [0, 255], in PyTorch on any device: a scalar."""
    total = frames.new_zeros(())
    for start in range(0, len(frames) - 1, _AT_ONCE):
        found = flows(frames[start : start + _AT_ONCE + 1])
        total = total + found.square().sum(dim=1).sqrt().mean(dim=(1, 2)).sum()
    return total / max(1, len(frames) - 1)


def pair_flows(frames: np.ndarray) -> list[float]:
    """Mean flow magnitude of each consecutive pair of 8-bit frames (T, H, W), pixels a frame."""
    height, width = frames.shape[1:]
    compiled = _compiled()
    if compiled and min(height, width) >= SMALLEST_SIDE and width <= compiled.WIDEST:
        return list(compiled.mean_flows(frames))
    return [opencv_flow(first, second) for first, second in itertools.pairwise(frames)]


@cache
def _compiled() -> ModuleType | None:
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
    """Mean flow magnitude of one pair of 8-bit frames by OpenCV, pixels a frame."""
    flow = cv2.calcOpticalFlowFarneback(
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
    return float(cv2.magnitude(flow[..., 0], flow[..., 1]).mean())
