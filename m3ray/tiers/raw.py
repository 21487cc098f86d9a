"""Raw perception: pixel statistics, each computed per frame and averaged over frames."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor

from m3ray.errors import ShapeError

# ITU-R BT.601, the weights of OpenCV's RGB to grey conversion.
LUMA_WEIGHTS = (0.299, 0.587, 0.114)


def check_rgb(rgb: Tensor) -> None:
    """Raises ShapeError unless `rgb` is (B, T, 3, H, W) with at least one frame, floating."""
    if rgb.ndim != 5 or rgb.shape[2] != 3 or rgb.shape[1] < 1 or not rgb.is_floating_point():
        raise ShapeError(
            f"expected rgb as (B, T, 3, H, W) in [0, 1], T >= 1, floating; got {tuple(rgb.shape)}, {rgb.dtype}"
        )


def check_luma(gray: Tensor) -> None:
    """Raises ShapeError unless `gray` is (B, T, H, W) with at least one frame, floating."""
    if gray.ndim != 4 or gray.shape[1] < 1 or not gray.is_floating_point():
        raise ShapeError(
            f"expected luma as (B, T, H, W) in [0, 1], T >= 1, floating; got {tuple(gray.shape)}, {gray.dtype}"
        )


def luma(rgb: Tensor) -> Tensor:
    """Luma, Y = 0.299 R + 0.587 G + 0.114 B (BT.601).

    Args:
        rgb: values in [0, 1], (B, T, 3, H, W).
    Returns:
        (B, T, H, W), of the type of `rgb`.
    Raises:
        ShapeError: `rgb` is not five-dimensional with three channels.
    """
    check_rgb(rgb)
    red, green, blue = LUMA_WEIGHTS
    return red * rgb[:, :, 0] + green * rgb[:, :, 1] + blue * rgb[:, :, 2]


def planes(frames: np.ndarray) -> Tensor:
    """Channels apart, each contiguous: uint8 (T, H, W, 3) to (T, 3, H, W).

    The one copy of a clip's frames that its features need; by OpenCV, which shuffles bytes in registers.
    """
    count, height, width, channels = frames.shape
    apart = np.empty((channels, count * height, width), np.uint8)
    joined = np.ascontiguousarray(frames).reshape(count * height, width, channels)
    cv2.mixChannels([joined], list(apart), [0, 0, 1, 1, 2, 2])
    return torch.from_numpy(apart).view(channels, count, height, width).transpose(0, 1)


def pixel_sums(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Brightness of 8-bit frames, and their luma: one pass over each channel, no float copy of all three.

    Args:
        rgb: uint8, (T, 3, H, W).
    Returns:
        Brightness of each frame (T,), in [0, 1], and luma (T, H, W) in [0, 1], float32.
    """
    red, green, blue = rgb.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    weights = [weight / 255 for weight in LUMA_WEIGHTS]
    gray = red.float().mul_(weights[0])
    for channel, weight in zip((green, blue), weights[1:], strict=True):
        gray.add_(channel.float(), alpha=weight)
    return value.float().mean(dim=(1, 2)) / 255, gray


def brightness(rgb: Tensor) -> Tensor:
    """Mean of HSV's value, V = max(R, G, B), over pixels and frames.

    Args:
        rgb: values in [0, 1], (B, T, 3, H, W).
    Returns:
        (B,), in [0, 1].
    Raises:
        ShapeError: `rgb` is not five-dimensional with three channels.
    """
    check_rgb(rgb)
    return rgb.amax(dim=2).mean(dim=(1, 2, 3))


def contrast(gray: Tensor) -> Tensor:
    """Standard deviation of luma over the pixels of a frame (RMS contrast), mean over frames.

    Args:
        gray: luma in [0, 1], (B, T, H, W).
    Returns:
        (B,), in [0, 0.5].
    Raises:
        ShapeError: `gray` is not four-dimensional.
    """
    check_luma(gray)
    pixels = gray.flatten(2)
    # The norm about the mean: torch's own one-pass deviation takes twenty times as long.
    about = torch.linalg.vector_norm(pixels - pixels.mean(dim=2, keepdim=True), dim=2)
    return (about / pixels.shape[2] ** 0.5).mean(dim=1)


def blurriness(gray: Tensor, half_width: int = 30) -> Tensor:
    """Mean level of what is left of a frame without its low frequencies, dB; lower is blurrier.

    The plane's frequencies -half_width to half_width - 1 are set to zero in both directions; the mean over
    pixels of 20 log10(max(abs, 1e-8)) follows (the supplement's "blurriness").

    Args:
        gray: luma in [0, 1], (B, T, H, W).
        half_width: of the square left out, in cycles a frame.
    Returns:
        dB, (B,), mean over frames.
    Raises:
        ShapeError: `gray` is not four-dimensional.
    """
    check_luma(gray)
    real, imaginary = _low_frequencies(gray, half_width)
    # 20 log10 |z| = 10 log10 |z|^2, and the bound of |z| becomes its square.
    power = real.sub_(gray).square_().add_(imaginary.square_())
    return _mean_log10(power.clamp_min_(1e-16).flatten(1)) * 10


def _mean_log10(values: Tensor) -> Tensor:
    """Of each row of (B, N), all at least 1e-16: one logarithm of two values' product, which float32 holds."""
    half = values.shape[1] // 2
    pairs = values[:, :half].mul_(values[:, half : 2 * half]).log10_()
    return (pairs.sum(dim=1) + values[:, 2 * half :].log10().sum(dim=1)) / values.shape[1]


def _low_frequencies(gray: Tensor, half_width: int) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of what the low-frequency square of each frame gives back, (B, T, H, W) both.

    The square, -n to n - 1 in both directions, holds few waves: products with them stand in for two transforms of the
    whole plane. Frequencies -n + 1 to n - 1 come in pairs, so they are real sines and cosines, S; -n stands alone, a
    complex wave w = u + iv. What they give back of a frame g is (S'S + w w*) g (S'S + w w*).
    """
    height, width = gray.shape[-2:]
    rows, columns = (_waves(length, min(half_width, length // 2)).to(gray) for length in (height, width))
    u, v = columns[-2], columns[-1]
    found = rows @ gray  # S g, then u'g and v'g
    seen = found @ columns.mT
    real = seen @ columns
    # The imaginary part of a row's projection lies along u and v alone.
    along_u, along_v = -seen[..., -1:], seen[..., -2:-1]
    # w* g = u'g - i v'g: its projection, real and imaginary.
    edge_real = real[..., -2, :] + along_u[..., -1, :] * u + along_v[..., -1, :] * v
    edge_imaginary = along_u[..., -2, :] * u + along_v[..., -2, :] * v - real[..., -1, :]
    top = torch.cat([real[..., :-2, :], edge_real[..., None, :], -edge_imaginary[..., None, :]], dim=-2)
    inner = rows[:-2].mT @ torch.cat([along_u, along_v], dim=-1)[..., :-2, :]
    left = torch.cat([inner, rows[-2:].mT.expand(*inner.shape[:-1], 2)], dim=-1)
    right = torch.stack([u.expand_as(edge_real), v.expand_as(edge_real), edge_imaginary, edge_real], dim=-2)
    return rows.mT @ top, left @ right


@cache
def _waves(length: int, half: int) -> Tensor:
    """Orthonormal sines and cosines of frequencies below `half`, then u and v of frequency -half: (2 half + 1, L)."""
    position = torch.arange(length, dtype=torch.float64)
    angle = 2 * torch.pi * torch.outer(torch.arange(1, half, dtype=torch.float64), position) / length
    edge = 2 * torch.pi * half * position / length
    constant = torch.full((1, length), 0.5**0.5, dtype=torch.float64)
    pairs = torch.cat([constant, angle.cos(), angle.sin()]) * (2 / length) ** 0.5
    return torch.cat([pairs, torch.stack([edge.cos(), -edge.sin()]) / length**0.5])
