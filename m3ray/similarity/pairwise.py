"""Distances and sums over pairs of clips, in blocks, so that memory does not grow with the number of clips.

Functions take and return NumPy arrays; they compute with PyTorch, on a GPU where this process sees one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

# How many pairwise numbers are in memory at once. On a GPU 32 MB of float64; a CPU is fastest while they fit its cache.
BLOCK_NUMBERS = 4_000_000
CACHED_NUMBERS = 1_000_000


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
        Of the type of `rows`, (Q, N).
    """
    q, n = _to_columns(rows), _to_columns(others)
    out = np.empty((len(rows), len(others)), rows.dtype)
    for part in blocks(len(rows), len(others)):
        out[part] = _fractional(q[:, part], n, f).cpu().numpy()
    return out


def fractional_sums(rows: np.ndarray, others: np.ndarray, f: float) -> np.ndarray:
    """Sum of the fractional distances of each row to all others.

    Distances are computed in float32 about the others' mean, their sums in float64: all terms are positive, so the sum
    keeps a relative error of 1e-6, and float32 has three times the rate of square roots.

    Args:
        rows: floating, (Q, d).
        others: floating, (N, d).
        f: exponent, above 0.
    Returns:
        Of the type of `rows`, (Q,).
    """
    centre = others.mean(axis=0)
    q, n = (_to_columns((x - centre).astype(np.float32)) for x in (rows, others))
    total = torch.zeros(q.shape[1], dtype=torch.float64, device=q.device)
    for part, other in _tiles(q, n):
        total[part] += _fractional(q[:, part], n[:, other], f).sum(dim=1)
    return total.cpu().numpy().astype(rows.dtype)


def fractional_sums_within(rows: np.ndarray, f: float) -> np.ndarray:
    """Sum of the fractional distances of each row to all rows; each pair is computed once, as distances are symmetric.

    Args:
        rows: floating, (N, d).
        f: exponent, above 0.
    Returns:
        Of the type of `rows`, (N,).
    """
    x = _to_columns((rows - rows.mean(axis=0)).astype(np.float32))
    total = torch.zeros(x.shape[1], dtype=torch.float64, device=x.device)
    for part, other in _tiles(x, x):
        if other.start < part.start:
            continue
        distances = _fractional(x[:, part], x[:, other], f)
        total[part] += distances.sum(dim=1)
        if other.start > part.start:
            total[other] += distances.sum(dim=0)
    return total.cpu().numpy().astype(rows.dtype)


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
        Of the type of `rows`, (Q, N).
    """
    q, n = _to_device(rows), _to_device(others)
    out = np.empty((len(rows), len(others)), rows.dtype)
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
        Of the type of `rows`, (Q, k).
    """
    q, n = _to_device(rows), _to_device(others)
    out = np.empty((len(rows), k), rows.dtype)
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
        Counts, of the type of `rows`, (Q, T).
    """
    q, n = _to_device(rows), _to_device(others)
    out = np.empty((len(rows), len(thresholds)), rows.dtype)
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
    rows: np.ndarray, points: np.ndarray, ends: np.ndarray, bandwidth: float, own: np.ndarray | None = None
) -> np.ndarray:
    """Logarithm of the sum of Gaussian kernels, log sum_y exp(-|x - y|^2 / 2h^2), of each row over groups of points.

    The exponents come from one product of matrices in float64. Exponentials are summed in float32 after each group's
    largest is taken out; all have one sign, so the sum keeps a relative error of 1e-6, and its logarithm is wanted.

    Args:
        rows: floating, (Q, d).
        points: floating, the groups one after the other, (P, d); a point may be in several groups.
        ends: index after the last point of each group, (G,).
        bandwidth: standard deviation h of the kernels.
        own: pairs of row and point that are left out, sorted by row, (M, 2); None to leave out none.
    Returns:
        float64, (Q, G); -inf for an empty sum.
    """
    left, right = _quadratic(_to_device(rows).double(), _to_device(points).double(), bandwidth)
    own = np.empty((0, 2), np.int64) if own is None else own
    out = np.empty((len(rows), len(ends)))
    for part in blocks(len(rows), len(points)):
        logs = (left[part] @ right).float()
        ignored = own[np.searchsorted(own[:, 0], part.start) : np.searchsorted(own[:, 0], part.stop)]
        index = torch.from_numpy(ignored).to(logs.device)
        logs[index[:, 0] - part.start, index[:, 1]] = -torch.inf
        starts = np.concatenate([[0], ends[:-1]])
        sums = [_log_sum(logs[:, a:b]) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
        out[part] = torch.stack(sums, dim=1).double().cpu().numpy()
    return out


def _quadratic(rows: Tensor, points: Tensor, h: float) -> tuple[Tensor, Tensor]:
    """Factors whose product is -|x - y|^2 / 2h^2: (Q, d + 2) and (d + 2, P)."""
    ones = [torch.ones(len(t), 1, dtype=t.dtype, device=t.device) for t in (rows, points)]
    squares = [(t * t).sum(dim=1, keepdim=True) * (-0.5 / h**2) for t in (rows, points)]
    return torch.cat([rows / h**2, squares[0], ones[0]], 1), torch.cat([points, ones[1], squares[1]], 1).T.contiguous()


def _log_sum(logs: Tensor) -> Tensor:
    """Logarithm of the sum of exponentials over columns, which it overwrites; -inf where all are."""
    top = logs.amax(dim=1, keepdim=True)
    safe = torch.where(top.isfinite(), top, 0.0)
    return logs.sub_(safe).exp_().sum(dim=1).log_() + safe[:, 0]


def _to_device(rows: np.ndarray) -> Tensor:
    rows = np.ascontiguousarray(rows)
    # Arrays from an object store are read-only: PyTorch warns about them, although nothing here writes to them.
    return torch.from_numpy(rows if rows.flags.writeable else rows.copy()).to(device())


def _to_columns(rows: np.ndarray) -> Tensor:
    """(N, d) to (d, N) on the device."""
    return _to_device(rows.T)
