"""How the inputs of the reference figures in `golden/` are made."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parent / "golden"


def golden(name):
    return np.load(GOLDEN / f"{name}.npz")


def fill(state_dict):
    """Every tensor of a network from its own key: the weights that the backbones' figures were made with."""
    for key, value in state_dict.items():
        if key.endswith("num_batches_tracked"):
            continue
        generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
        noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        if value.ndim >= 2:
            noise *= math.sqrt(2.0 / value[0].numel())
        elif key.endswith("running_var"):
            noise = 1 + 0.1 * noise.abs()
        elif key.endswith(("running_mean", "bias")):
            noise *= 0.1
        else:
            noise = 0.5 * (1 + 0.1 * noise)
        state_dict[key] = noise.to(value.dtype)
    return state_dict


def frames(seed, t=6, n=256):
    """Noisy moving gratings, uint8 (t, n, n, 3)."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 96, (n, n, 3))
    y, x = np.mgrid[0:n, 0:n].astype(np.float64)
    out = []
    for k in range(t):
        waves = [
            80 + 60 * np.sin(2 * np.pi * ((x * (c + 1) + y * (2 - c)) / 64 + k * 0.05 * (c + 1))) for c in range(3)
        ]
        out.append(np.clip(np.stack(waves, -1) + np.roll(noise, 2 * k, axis=1), 0, 255).astype(np.uint8))
    return np.stack(out)


def moving_texture(seed, motion, t=5, n=256):
    """A smooth texture under a known motion, uint8 (t, n, n)."""
    spectrum = np.fft.fft2(np.random.default_rng(seed).standard_normal((n, n)))
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n)))
    texture = np.fft.ifft2(spectrum * np.exp(-((radius / 0.06) ** 2))).real
    texture = (texture - texture.min()) / np.ptp(texture)
    y, x = np.mgrid[0:n, 0:n].astype(np.float64)
    return np.stack([np.round(_sampled(texture, *_MOTIONS[motion](x, y, k)) * 255).astype(np.uint8) for k in range(t)])


def _rotated(x, y, k):
    angle = np.deg2rad(k)
    dx, dy = x - 127.5, y - 127.5
    return 127.5 + np.cos(angle) * dx - np.sin(angle) * dy, 127.5 + np.sin(angle) * dx + np.cos(angle) * dy


_MOTIONS = {
    "shift": lambda x, y, k: (x + 2 * k, y + k),
    "rotate": _rotated,
    "zoom": lambda x, y, k: (127.5 + (x - 127.5) * (1 - 0.01 * k), 127.5 + (y - 127.5) * (1 - 0.01 * k)),
    "still": lambda x, y, k: (x, y),
}


def _sampled(texture, x, y):
    """Bilinear, wrapping around."""
    n = len(texture)
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - x0, y - y0
    at = lambda i, j: texture[i % n, j % n]  # noqa: E731
    top = (1 - fx) * at(y0, x0) + fx * at(y0, x0 + 1)
    return (1 - fy) * top + fy * ((1 - fx) * at(y0 + 1, x0) + fx * at(y0 + 1, x0 + 1))
