"""Frames for tests."""

import numpy as np


def pictures(count=20, height=96, width=128, seed=0):
    """Frames whose brightness grows with time, so that order shows: uint8 (count, height, width, 3)."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(30, 220, count)[:, None, None, None]
    return np.clip(ramp + rng.integers(-8, 8, (count, height, width, 3)), 0, 255).astype(np.uint8)
