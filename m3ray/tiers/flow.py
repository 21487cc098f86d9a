"""Dense optical flow between consecutive frames.

One definition, two ways: on a GPU all frames of a clip at once in PyTorch (`farneback`), on a CPU OpenCV, which is
faster there for the same figures.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import torch
from torch import Tensor

from m3ray.tiers.farneback import ITERATIONS, LEVELS, POLY_N, POLY_SIGMA, PYRAMID_SCALE, WINDOW, flows
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
    if gray.is_cuda:
        return torch.stack([batched_flow(clip.float()) for clip in frames])
    bytes_ = frames.to(torch.uint8).numpy()
    values = [np.mean(pair_flows(clip)) if len(clip) > 1 else 0.0 for clip in bytes_]
    return torch.tensor(values, dtype=torch.float32)


def batched_flow(frames: Tensor) -> Tensor:
    """Mean flow magnitude of a clip (T, H, W), values in [0, 255], in PyTorch on any device: a scalar."""
    total = frames.new_zeros(())
    for start in range(0, len(frames) - 1, _AT_ONCE):
        found = flows(frames[start : start + _AT_ONCE + 1])
        total = total + found.square().sum(dim=1).sqrt().mean(dim=(1, 2)).sum()
    return total / max(1, len(frames) - 1)


def pair_flows(frames: np.ndarray) -> list[float]:
    """Mean flow magnitude of each consecutive pair of 8-bit frames (T, H, W), pixels a frame."""
    return [_pair_flow(first, second) for first, second in itertools.pairwise(frames)]


def _pair_flow(first: np.ndarray, second: np.ndarray) -> float:
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
