"""Distances and sums over pairs of clips, in blocks, so that memory does not grow with the number of clips.

Functions take and return NumPy arrays; they compute with PyTorch, on a GPU where this process sees one. Whatever type
the rows have, results are float64, and nothing overflows that would not overflow in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

Kernel = Literal["gaussian", "epanechnikov"]

# How many pairwise numbers are in memory at once. On a GPU 32 MB of float64; a CPU is fastest while they fit its cache.
BLOCK_NUMBERS = 4_000_000
CACHED_NUMBERS = 1_000_000
# Numbers between these powers of two, and sums of squares of their roots over all clips, stay within float32's range.
_FLOAT32_EXPONENT = 60
# Share of 1 / 2h^2 that a squared distance from |x|^2 - 2 x.y + |y|^2 may be wrong by.
_QUADRATIC_ERROR = 1e-6


def device() -> torch.device:
    """The device that pairs are computed on: a GPU where this process sees one; Ray tasks see what they asked for."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def block_numbers() -> int:
    """How many pairs are computed at once on `device`."""
    return CACHED_NUMBERS if device().type == "cpu" else BLOCK_NUMBERS


def blocks(rows: int, others: int) -> Iterator[slice]:
    """Slices of rows such that a block of rows against all others stays within `block_numbers`.

    Args:
        rows: number of rows.
        others: number of vectors that each row is compared with.
    """
    step = max(1, block_numbers() // max(1, others))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def fractional_distances(rows: np.ndarray, others: np.ndarray, f: float) -> np.ndarray:
    """Fractional distance of every pair.

    Frac(x, y) = (sum_i |x_i - y_i|^f)^(1/f): Aggarwal et al. 2001.

    Args:
        rows: floating, (Q, d).
        others: floating, (N, d).
        f: exponent, above 0.
    Returns:
        float64, (Q, N).
    """
    q, n = _to_columns(rows), _to_columns(others)
    out = np.empty((len(rows), len(others)))
    for part in blocks(len(rows), len(others)):
        out[part] = _fractional(q[:, part], n, f).cpu().numpy()
    return out


def fractional_sums(rows: np.ndarray, others: np.ndarray, f: float) -> np.ndarray:
    """Sum of the fractional distances of each row to all others.

    Distances are computed in float32 about the others' mean, their sums in float64: all terms are positive, so the sum
    keeps a relative error of 1e-6, and float32 has three times the rate of square roots. Numbers that float32 cannot
    hold are computed in float64.

    Args:
        rows: floating, (Q, d).
        others: floating, (N, d).
        f: exponent, above 0.
    Returns:
        float64, (Q,).
    """
    centre = others.astype(np.float64).mean(axis=0)
    left, right = rows.astype(np.float64) - centre, others.astype(np.float64) - centre
    dtype = _fractional_type(f, left, right)
    q, n = (_to_device(x.astype(dtype).T) for x in (left, right))
    total = torch.zeros(q.shape[1], dtype=torch.float64, device=q.device)
    for part, other in _tiles(q, n):
        total[part] += _fractional(q[:, part], n[:, other], f).sum(dim=1)
    return total.cpu().numpy()


def fractional_sums_within(rows: np.ndarray, f: float) -> np.ndarray:
    """Sum of the fractional distances of each row to all rows; each pair is computed once, as distances are symmetric.

    Args:
        rows: floating, (N, d).
        f: exponent, above 0.
    Returns:
        float64, (N,).
    """
    centred = rows.astype(np.float64) - rows.astype(np.float64).mean(axis=0)
    x = _to_device(centred.astype(_fractional_type(f, centred)).T)
    total = torch.zeros(x.shape[1], dtype=torch.float64, device=x.device)
    for part, other in _tiles(x, x):
        if other.start < part.start:
            continue
        distances = _fractional(x[:, part], x[:, other], f)
        total[part] += distances.sum(dim=1)
        if other.start > part.start:
            total[other] += distances.sum(dim=0)
    return total.cpu().numpy()


def _fractional_type(f: float, *rows: np.ndarray) -> type[np.floating[Any]]:
    """float32 where its range holds the distances of these rows, d^(1/f) times the largest gap at most."""
    peak = max(float(np.abs(x).max(initial=0.0)) for x in rows)
    largest = np.log2(max(peak, np.finfo(np.float64).tiny)) + np.log2(max(1, rows[0].shape[1])) / f
    return np.float32 if not peak or abs(largest) < _FLOAT32_EXPONENT else np.float64


def _tiles(rows: Tensor, others: Tensor) -> Iterator[tuple[slice, slice]]:
    """Pairs of slices of the two, which are square tiles of a grid over all pairs."""
    side = int(block_numbers() ** 0.5)
    for start in range(0, rows.shape[1], side):
        for other in range(0, others.shape[1], side):
            yield slice(start, start + side), slice(other, other + side)


def _fractional(rows: Tensor, others: Tensor, f: float) -> Tensor:
    """Fractional distances of (d, Q) to (d, N), (Q, N): a component at a time, so that no (Q, N, d) is in memory."""
    total = rows.new_zeros(rows.shape[1], others.shape[1])
    gap = torch.empty_like(total)
    for row, other in zip(rows, others, strict=True):
        torch.sub(row[:, None], other[None, :], out=gap).abs_()
        total += gap.sqrt_() if f == 0.5 else gap.pow_(f)
    return total.square_() if f == 0.5 else total.pow_(1 / f)


def euclidean_distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Euclidean distance of every pair, |x - y|.

    Computed from differences, as the expanded square |x|^2 - 2 x.y + |y|^2 loses half of the digits near 0.

    Args:
        rows: floating, (Q, d).
        others: floating, (N, d).
    Returns:
        float64, (Q, N).
    """
    q, n = _to_doubles(rows), _to_doubles(others)
    out = np.empty((len(rows), len(others)))
    for part in blocks(len(rows), len(others)):
        out[part] = torch.cdist(q[part], n, compute_mode="donot_use_mm_for_euclid_dist").cpu().numpy()
    return out


def nearest_distances(rows: np.ndarray, others: np.ndarray, k: int, own: np.ndarray | None = None) -> np.ndarray:
    """Euclidean distances to the k nearest others, ascending.

    Args:
        rows: floating, (Q, d).
        others: floating, (N, d), N >= k, or N > k where `own` is given.
        k: number of neighbours.
        own: index among `others` of the row itself, which is left out, (Q,); None to leave out none.
    Returns:
        float64, (Q, k).
    """
    q, n = _to_doubles(rows), _to_doubles(others)
    out = np.empty((len(rows), k))
    for part in blocks(len(rows), len(others)):
        distances = torch.cdist(q[part], n, compute_mode="donot_use_mm_for_euclid_dist")
        if own is not None:
            index = torch.from_numpy(own[part]).to(distances.device)
            distances[torch.arange(len(index), device=index.device), index] = torch.inf
        out[part] = distances.topk(k, dim=1, largest=False).values.cpu().numpy()
    return out


def cosine_counts(rows: np.ndarray, others: np.ndarray, thresholds: tuple[float, ...]) -> np.ndarray:
    """How many others have a cosine similarity to each row above each threshold.

    Args:
        rows: vectors of length 1, floating, (Q, d).
        others: vectors of length 1, floating, (N, d).
        thresholds: T cosine similarities.
    Returns:
        Counts, float64, (Q, T).
    """
    q, n = _to_doubles(rows), _to_doubles(others)
    out = np.empty((len(rows), len(thresholds)))
    for part in blocks(len(rows), len(others)):
        cosine = q[part] @ n.T
        for column, threshold in enumerate(thresholds):
            out[part, column] = _count_true(cosine > threshold)
    return out


def _count_true(mask: Tensor) -> np.ndarray:
    # NumPy counts booleans five times as fast as PyTorch's CPU reduction.
    if mask.device.type == "cpu":
        return np.count_nonzero(mask.numpy(), axis=1)
    return mask.sum(dim=1).cpu().numpy()


def log_kernel_sums(
    rows: np.ndarray,
    points: np.ndarray,
    ends: np.ndarray,
    bandwidths: np.ndarray | float,
    own: np.ndarray | None = None,
    kernel: Kernel = "gaussian",
) -> np.ndarray:
    """Logarithm of the sum of kernels of each row over groups of points.

    A kernel is exp(-|x - y|^2 / 2h^2), or max(0, 1 - |x - y|^2 / h^2) where it is Epanechnikov's.

    The exponents come from one product of matrices in float64. Exponentials are summed in float32 after each group's
    largest is taken out; all have one sign, so the sum keeps a relative error of 1e-6, and its logarithm is wanted.

    Args:
        rows: floating, (Q, d).
        points: floating, the groups one after the other, (P, d); a point may be in several groups.
        ends: index after the last point of each group, (G,).
        bandwidths: h of each group, (G,), or of all.
        own: pairs of row and point that are left out, sorted by row, (M, 2); None to leave out none.
        kernel: shape of the kernels.
    Returns:
        float64, (Q, G); -inf for an empty sum.
    """
    starts = np.concatenate([[0], ends[:-1]])
    widths = np.repeat(np.broadcast_to(np.asarray(bandwidths, np.float64), (len(ends),)), ends - starts)
    exponents = _exponents(rows, points, widths)
    sum_kernels = _log_gaussian_sum if kernel == "gaussian" else _log_epanechnikov_sum
    own = np.empty((0, 2), np.int64) if own is None else own
    out = np.empty((len(rows), len(ends)))
    for part in blocks(len(rows), len(points)):
        logs = exponents(part)
        ignored = own[np.searchsorted(own[:, 0], part.start) : np.searchsorted(own[:, 0], part.stop)]
        index = torch.from_numpy(ignored).to(logs.device)
        logs[index[:, 0] - part.start, index[:, 1]] = -torch.inf
        sums = [sum_kernels(logs[:, a:b]) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
        out[part] = torch.stack(sums, dim=1).cpu().numpy()
    return out


def _exponents(rows: np.ndarray, points: np.ndarray, widths: np.ndarray) -> Callable[[slice], Tensor]:
    """What gives -|x - y|^2 / 2h^2 of some rows and all points in float64, (R, P)."""
    centre = points.astype(np.float64).mean(axis=0)
    q, n = (_to_doubles(x.astype(np.float64) - centre) for x in (rows, points))
    scale = _to_doubles(0.5 / np.square(widths))
    squares = [(t * t).sum(dim=1) for t in (q, n)]
    largest = max(float(s.max()) if len(s) else 0.0 for s in squares)
    if largest * torch.finfo(torch.float64).eps > _QUADRATIC_ERROR * float(np.square(widths).min(initial=np.inf)):
        # Far from the centre the square of a difference is lost between those of the two, so it is taken itself.
        return lambda part: torch.cdist(q[part], n, compute_mode="donot_use_mm_for_euclid_dist").square_() * -scale
    # -|x - y|^2 / 2h^2 = (2 x.y - |x|^2 - |y|^2) / 2h^2, with h of the point
    left = torch.cat([2 * q, -squares[0][:, None], torch.ones_like(q[:, :1])], 1)
    right = torch.cat([n * scale[:, None], scale[:, None], (-squares[1] * scale)[:, None]], 1).T.contiguous()
    return lambda part: left[part] @ right


def _log_gaussian_sum(logs: Tensor) -> Tensor:
    """Logarithm of the sum of exponentials over columns, which it overwrites; -inf where all are."""
    top = logs.amax(dim=1, keepdim=True)
    safe = torch.where(top.isfinite(), top, 0.0)
    return logs.sub_(safe).float().exp_().sum(dim=1).double().log_() + safe[:, 0]


def _log_epanechnikov_sum(logs: Tensor) -> Tensor:
    """Logarithm of the sum of 1 - |x - y|^2 / h^2 over columns, which it overwrites; -inf where no kernel reaches."""
    return logs.mul_(2).add_(1).clamp_(min=0).sum(dim=1).log_()


def _to_device(rows: np.ndarray) -> Tensor:
    rows = np.ascontiguousarray(rows)
    # Arrays from an object store are read-only: PyTorch warns about them, although nothing here writes to them.
    return torch.from_numpy(rows if rows.flags.writeable else rows.copy()).to(device())


def _to_doubles(rows: np.ndarray) -> Tensor:
    """As float64 on the device: half precision has no kernels for what is computed here, and little range."""
    return _to_device(rows.astype(np.float64, copy=False))


def _to_columns(rows: np.ndarray) -> Tensor:
    """(N, d) to (d, N), float64, on the device."""
    return _to_doubles(rows.T)
