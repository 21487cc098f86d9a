"""Raw perception: pixel statistics, each computed per frame and averaged over frames."""

from __future__ import annotations

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
    return gray.flatten(2).std(dim=2, correction=0).mean(dim=1)


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
    residual = _without_low_frequencies(gray, half_width)
    return (20 * torch.log10(residual.clamp_min(1e-8))).mean(dim=(1, 2, 3))


def _without_low_frequencies(gray: Tensor, half_width: int) -> Tensor:
    """Magnitude of `gray` less its low-frequency square.

    Only the square is transformed back: the rest is the frame minus that, so two small matrix products stand in for
    two transforms of the plane. The square is not symmetric (-n to n - 1), so the result is complex.
    """
    height, width = gray.shape[-2:]
    rows = _dft(height, half_width, gray)
    columns = _dft(width, half_width, gray)
    square = rows @ gray.to(rows.dtype) @ columns.mT
    low = rows.mH @ square @ columns.conj() / (height * width)
    return (gray - low).abs()


def _dft(length: int, half_width: int, like: Tensor) -> Tensor:
    """Rows -half_width to half_width - 1 of the discrete Fourier transform's matrix: (2 half_width, length)."""
    half = min(half_width, length // 2)
    frequency = torch.arange(-half, half, dtype=torch.float64, device=like.device)
    position = torch.arange(length, dtype=torch.float64, device=like.device)
    angle = -2 * torch.pi * torch.outer(frequency, position) / length
    kind = torch.complex128 if like.dtype == torch.float64 else torch.complex64
    return torch.polar(torch.ones_like(angle), angle).to(kind)
