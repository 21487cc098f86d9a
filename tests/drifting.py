"""Frames that move by whole pixels, for tests."""

from __future__ import annotations

import itertools

import cv2
import numpy as np


def drifting_noise(count, seed=0):
    """Noise that moves by two pixels a frame, uint8 (count, 256, 256, 3)."""
    noise = np.random.default_rng(seed).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    return np.stack([np.roll(noise, 2 * k, axis=1) for k in range(count)])


def drifting_texture(seed: int, frames: int, height: int, width: int) -> np.ndarray:
    """A smooth texture that moves by (2, 1) pixels a frame, uint8 (T, H, W). Noise alone has no motion to find."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 2)
    texture = (texture - texture.min()) / max(1e-6, float(np.ptp(texture))) * 255
    return np.stack([np.roll(texture, (k, 2 * k), (0, 1)) for k in range(frames)]).astype(np.uint8)


def opencv_flows(clip: np.ndarray) -> list[float]:
    """Mean magnitude of OpenCV's own flow of each pair of frames, called with the settings written out."""
    flows = (cv2.calcOpticalFlowFarneback(*p, None, 0.5, 3, 15, 3, 5, 1.2, 0) for p in itertools.pairwise(clip))
    return [float(cv2.magnitude(flow[..., 0], flow[..., 1]).mean()) for flow in flows]
