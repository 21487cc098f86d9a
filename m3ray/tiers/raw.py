"""Pixel statistics of raw perception: brightness, contrast and blurriness, per frame, averaged over frames."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from m3ray.errors import ShapeError
from m3ray.tiers.constants import constant

# ITU-R BT.601, the weights of OpenCV's RGB to grey conversion.
LUMA_WEIGHTS = (0.299, 0.587, 0.114)


def check_rgb(rgb: Tensor) -> None:
    """Check the shape and type of colour clips.

    Args:
        rgb: what should be floating, (B, T, 3, H, W), T >= 1.
    Raises:
        ShapeError: If it is not.
    """
    if rgb.ndim != 5 or rgb.shape[2] != 3 or rgb.shape[1] < 1 or not rgb.is_floating_point():
        raise ShapeError(
            f"expected rgb as (B, T, 3, H, W) in [0, 1], T >= 1, floating; got {tuple(rgb.shape)}, {rgb.dtype}"
        )


def check_luma(gray: Tensor) -> None:
    """Check the shape and type of luma clips.

    Args:
        gray: what should be floating, (B, T, H, W), T >= 1.
    Raises:
        ShapeError: If it is not.
    """
    if gray.ndim != 4 or gray.shape[1] < 1 or not gray.is_floating_point():
        raise ShapeError(
            f"expected luma as (B, T, H, W) in [0, 1], T >= 1, floating; got {tuple(gray.shape)}, {gray.dtype}"
        )


def luma(rgb: Tensor) -> Tensor:
    """Luma, Y = 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).

    Args:
        rgb: colours in [0, 1], floating, (B, T, 3, H, W), T >= 1.
    Returns:
        Luma in [0, 1], (B, T, H, W), of the type of `rgb`.
    Raises:
        ShapeError: If `rgb` is not five-dimensional with three channels.
    """
    check_rgb(rgb)
    red, green, blue = LUMA_WEIGHTS
    return red * rgb[:, :, 0] + green * rgb[:, :, 1] + blue * rgb[:, :, 2]


def split_channels(frames: np.ndarray) -> Tensor:
    """Split frames into channels, each contiguous in memory.

    The one copy of a clip's frames that its features need; by OpenCV, which shuffles bytes in registers.

    Args:
        frames: uint8, (T, H, W, 3).
    Returns:
        uint8, (T, 3, H, W).
    """
    count, height, width, channels = frames.shape
    planes = np.empty((channels, count * height, width), np.uint8)
    pixels = np.ascontiguousarray(frames).reshape(count * height, width, channels)
    cv2.mixChannels([pixels], list(planes), [0, 0, 1, 1, 2, 2])
    return torch.from_numpy(planes).view(channels, count, height, width).transpose(0, 1)


def brightness_and_luma(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Brightness and luma of 8-bit frames, in one pass over each channel and without a float copy of all three.

    Args:
        rgb: uint8, (T, 3, H, W).
    Returns:
        Brightness of each frame in [0, 1], float32, (T,); luma in [0, 1], float32, (T, H, W).
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
        rgb: colours in [0, 1], floating, (B, T, 3, H, W), T >= 1.
    Returns:
        Brightness in [0, 1], (B,).
    Raises:
        ShapeError: If `rgb` is not five-dimensional with three channels.
    """
    check_rgb(rgb)
    return rgb.amax(dim=2).mean(dim=(1, 2, 3))


def contrast(gray: Tensor) -> Tensor:
    """Standard deviation of luma over the pixels of a frame (RMS contrast, Peli 1990), mean over frames.

    Args:
        gray: luma in [0, 1], floating, (B, T, H, W), T >= 1.
    Returns:
        Contrast in [0, 0.5], (B,).
    Raises:
        ShapeError: If `gray` is not four-dimensional.
    """
    check_luma(gray)
    pixels = gray.flatten(2)
    # |Y - mean(Y)| / sqrt(pixels), by the norm: torch's own one-pass deviation takes twenty times as long.
    norm = torch.linalg.vector_norm(pixels - pixels.mean(dim=2, keepdim=True), dim=2)
    return (norm / pixels.shape[2] ** 0.5).mean(dim=1)


def blurriness(gray: Tensor, half_width: int = 30) -> Tensor:
    """Mean level of a frame without its low frequencies, in dB; lower is blurrier.

    The plane's frequencies -half_width to half_width - 1 are set to zero in both directions; the mean over
    pixels of 20 log10(max(abs, 1e-8)) follows (the supplement's "blurriness").

    Args:
        gray: luma in [0, 1], floating, (B, T, H, W), T >= 1.
        half_width: half the side of the low-frequency square, in cycles a frame.
    Returns:
        dB, (B,), mean over frames.
    Raises:
        ShapeError: If `gray` is not four-dimensional.
    """
    check_luma(gray)
    real, imaginary = _low_frequencies(gray, half_width)
    # 20 log10 |z| = 10 log10 |z|^2, and the bound of |z| becomes its square.
    power = real.sub_(gray).square_().add_(imaginary.square_())
    return _mean_log10(power.clamp_min_(1e-16).flatten(1)) * 10


def _mean_log10(values: Tensor) -> Tensor:
    """Mean log10 of each row of (B, N), all at least 1e-16: log a + log b = log ab, whose product float32 holds."""
    half = values.shape[1] // 2
    pairs = values[:, :half].mul_(values[:, half : 2 * half]).log10_()
    return (pairs.sum(dim=1) + values[:, 2 * half :].log10().sum(dim=1)) / values.shape[1]


def _low_frequencies(gray: Tensor, half_width: int) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of each frame's projection onto the low-frequency square, (B, T, H, W) both.

    The square, -n to n - 1 in both directions, holds few waves: products with them replace two transforms of the
    whole plane. Frequencies -n + 1 to n - 1 come in pairs, so they are real sines and cosines, S; -n stands alone, a
    complex wave w = u + iv. The projection of a frame g is (S'S + w w*) g (S'S + w w*).
    """
    height, width = gray.shape[-2:]
    rows, columns = (
        constant(make_waves, length, min(half_width, length // 2), device=gray.device, dtype=gray.dtype)
        for length in (height, width)
    )
    u, v = columns[-2], columns[-1]
    coefficients = rows @ gray @ columns.mT  # rows: S g, then u'g and v'g
    real = coefficients @ columns
    # The imaginary part of a row's projection lies along u and v alone.
    along_u, along_v = -coefficients[..., -1:], coefficients[..., -2:-1]
    # w* g = u'g - i v'g: its projection, real and imaginary.
    edge_real = real[..., -2, :] + along_u[..., -1, :] * u + along_v[..., -1, :] * v
    edge_imaginary = along_u[..., -2, :] * u + along_v[..., -2, :] * v - real[..., -1, :]
    top = torch.cat([real[..., :-2, :], edge_real[..., None, :], -edge_imaginary[..., None, :]], dim=-2)
    inner = rows[:-2].mT @ torch.cat([along_u, along_v], dim=-1)[..., :-2, :]
    left = torch.cat([inner, rows[-2:].mT.expand(*inner.shape[:-1], 2)], dim=-1)
    right = torch.stack([u.expand_as(edge_real), v.expand_as(edge_real), edge_imaginary, edge_real], dim=-2)
    return rows.mT @ top, left @ right


def make_waves(length: int, half: int) -> Tensor:
    """Make the waves of an axis that are taken out: orthonormal sines and cosines, and one complex wave u + iv.

    Args:
        length: places of the axis, L.
        half: frequencies -half to half - 1 are taken out.
    Returns:
        Those of frequencies below `half`, then u and v of frequency -half, float64, (2 half + 1, L).
    """
    position = torch.arange(length, dtype=torch.float64)
    angle = 2 * torch.pi * torch.outer(torch.arange(1, half, dtype=torch.float64), position) / length
    edge = 2 * torch.pi * half * position / length
    constant = torch.full((1, length), 0.5**0.5, dtype=torch.float64)
    pairs = torch.cat([constant, angle.cos(), angle.sin()]) * (2 / length) ** 0.5
    return torch.cat([pairs, torch.stack([edge.cos(), -edge.sin()]) / length**0.5])
