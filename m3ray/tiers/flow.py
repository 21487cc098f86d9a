"""Dense optical flow between consecutive frames."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import torch
from torch import Tensor

from m3ray.tiers.raw import check_luma

# Farneback's settings, those of the reference figures: pyramid scale, levels, window, iterations, poly_n, poly_sigma.
PYRAMID_SCALE, LEVELS, WINDOW, ITERATIONS, POLY_N, POLY_SIGMA = 0.5, 3, 15, 3, 5, 1.2


def mean_optical_flow(gray: Tensor) -> Tensor:
    """Mean magnitude of dense optical flow between consecutive frames.

    Farneback 2003, two-frame polynomial expansion; the paper's feature "meanOF". Computed by OpenCV on 8-bit frames.

    Args:
        gray: luma in [0, 1], float32, (B, T, H, W), T >= 1.
    Returns:
        Pixels a frame, float32, (B,); 0 where T == 1.
    Raises:
        ShapeError: `gray` is not four-dimensional.
    """
    check_luma(gray)
    frames = (gray * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    values = [np.mean(pair_flows(clip)) if len(clip) > 1 else 0.0 for clip in frames]
    return torch.tensor(values, dtype=torch.float32, device=gray.device)


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
