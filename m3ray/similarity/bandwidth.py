"""The bandwidth of a kernel density, found by cross-validation."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from m3ray.similarity.pairwise import Kernel, device

_SEARCH_ROWS = 1_500  # a bandwidth is one number: more rows would not move it
_FOLDS = 5
# Deviations of the Gaussian kernels that are tried. Whitened data have deviation 1, so a fixed grid covers them.
BANDWIDTHS = np.geomspace(0.05, 2.0, 16)


def search_bandwidth(train: np.ndarray, seed: int, kernel: Kernel = "gaussian") -> float:
    """Search the bandwidth of highest held-out likelihood by cross-validation with five folds of rows drawn at random.

    A row that no kernel of the other folds reaches, which Epanechnikov's leave to be, has no likelihood. The bandwidth
    that leaves fewest such rows goes first, and the likelihood of the other rows decides between equals.

    Args:
        train: whitened vectors of the train clips, (N, d), N >= 2; at most 1,500 of them are drawn.
        seed: seed of the draw and of the folds.
        kernel: shape of the kernels.
    Returns:
        Bandwidth of the kernels, one of 16: a Gaussian's between 0.05 and 2, Epanechnikov's of the same deviations.
    """
    rows, folds = draw_folds(train, seed)
    tried = BANDWIDTHS * unit_bandwidth(kernel, train.shape[1])
    missed, likelihoods = held_out_likelihoods(rows, folds, tried, kernel)
    return float(tried[np.lexsort((-likelihoods, missed))[0]])


def draw_folds(train: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the rows of a search and the fold of each, whatever order they come in.

    Args:
        train: vectors of the train clips, (N, d).
        seed: seed of both draws.
    Returns:
        Rows, (n, d), n <= 1,500; a fold each, from 0, sizes differing by one at most, (n,).
    """
    rng = np.random.default_rng(seed)
    rows = train if len(train) <= _SEARCH_ROWS else train[rng.choice(len(train), _SEARCH_ROWS, replace=False)]
    return rows, rng.permutation(len(rows)) % min(_FOLDS, len(rows))


def held_out_likelihoods(
    rows: np.ndarray, folds: np.ndarray, bandwidths: np.ndarray, kernel: Kernel = "gaussian"
) -> tuple[np.ndarray, np.ndarray]:
    """Log likelihood of each row under the density of the other folds, for several bandwidths at once.

    Args:
        rows: vectors, (n, d).
        folds: fold of each row, at least two of them, (n,).
        bandwidths: H bandwidths.
        kernel: shape of the kernels.
    Returns:
        Number of rows that no kernel reaches, (H,), and the sum over the others, (H,).
    """
    x = torch.tensor(np.asarray(rows, np.float64)).to(device())
    fold = torch.tensor(folds).to(x.device)
    squares = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square_()
    squares[fold[:, None] == fold[None, :]] = torch.inf
    sum_kernels = _log_gaussian_sums if kernel == "gaussian" else _log_epanechnikov_sums
    sums = sum_kernels(squares, bandwidths).cpu().numpy()
    others = len(folds) - np.bincount(folds)[folds]
    volumes = np.array([log_volume(kernel, h, rows.shape[1]) for h in bandwidths])
    found = sums - np.log(others) - volumes[:, None]
    reached = np.isfinite(found)
    return (~reached).sum(axis=1), np.where(reached, found, 0.0).sum(axis=1)


def _log_gaussian_sums(squares: Tensor, bandwidths: np.ndarray) -> Tensor:
    """Log of the sum of Gaussian kernels over columns, (n, n) squared distances to (H, n)."""
    least = squares.amin(dim=1, keepdim=True)
    gaps = (squares - least).float()  # the nearest is taken out, so that the rest may be summed in float32
    scales = (-0.5 / np.square(bandwidths)).tolist()
    sums = [gaps.mul(scale).exp_().sum(dim=1).double().log_() + scale * least[:, 0] for scale in scales]
    return torch.stack(sums)


def _log_epanechnikov_sums(squares: Tensor, bandwidths: np.ndarray) -> Tensor:
    """As the Gaussian sums, of Epanechnikov's kernels; -inf where none reaches."""
    scales = (-1 / np.square(bandwidths)).tolist()
    return torch.stack([squares.mul(scale).add_(1).clamp_(min=0).sum(dim=1).log_() for scale in scales])


def unit_bandwidth(kernel: Kernel, dimensions: int) -> float:
    """Bandwidth of the kernel whose standard deviation along each axis is 1.

    Args:
        kernel: shape of the kernel.
        dimensions: d; Epanechnikov's has variance h^2 / (d + 4) along each axis.
    """
    return 1.0 if kernel == "gaussian" else math.sqrt(dimensions + 4)


def log_volume(kernel: Kernel, bandwidth: float, dimensions: int) -> float:
    """Logarithm of the integral of a kernel whose largest value is 1.

    (2 pi h^2)^(d/2) for exp(-|u|^2 / 2h^2); 2 / (d + 2) pi^(d/2) / Gamma(d/2 + 1) h^d for 1 - |u|^2 / h^2 within h.

    Args:
        kernel: shape of the kernel.
        bandwidth: h.
        dimensions: d.
    """
    if kernel == "gaussian":
        return dimensions / 2 * math.log(2 * math.pi * bandwidth**2)
    ball = dimensions / 2 * math.log(math.pi) - math.lgamma(dimensions / 2 + 1)
    return ball + math.log(2 / (dimensions + 2)) + dimensions * math.log(bandwidth)
