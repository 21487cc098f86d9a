"""Sums over pairs of clips, in blocks: memory is a block's, whatever the number of clips; on a GPU where there is one.

Everything here takes and gives NumPy arrays; tensors are how it is computed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

# Pairwise numbers in memory at once, 32 MB of float64: on a GPU. A CPU is fastest while they stay in its cache.
BLOCK_NUMBERS = 4_000_000
CACHED_NUMBERS = 1_000_000


def device() -> torch.device:
    """Where pairs are computed."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def block_numbers() -> int:
    """Pairs that are computed at once."""
    return CACHED_NUMBERS if device().type == "cpu" else BLOCK_NUMBERS


def blocks(rows: int, others: int) -> Iterator[slice]:
    """Slices of `rows` such that a block against `others` stays within `block_numbers`."""
    step = max(1, block_numbers() // max(1, others))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def fractional_distances(rows: np.ndarray, others: np.ndarray, f: float) -> np.ndarray:
    """Frac(x, y) = (sum_i |x_i - y_i|^f)^(1/f) for every pair: (Q, d) and (N, d) to (Q, N)."""
    q, n = _columns(rows), _columns(others)
    out = np.empty((len(rows), len(others)), rows.dtype)
    for part in blocks(len(rows), len(others)):
        out[part] = _fractional(q[:, part], n, f).cpu().numpy()
    return out


def fractional_sums(rows: np.ndarray, others: np.ndarray, f: float) -> np.ndarray:
    """Sum of the fractional distances of each row to all others: (Q, d) and (N, d) to (Q,).

    Distances in float32 about the others' mean, their sums in float64: all terms are positive, so the sum keeps
    relative 1e-6, and square roots come at three times the rate.
    """
    centre = others.mean(axis=0)
    q, n = (_columns((x - centre).astype(np.float32)) for x in (rows, others))
    total = torch.zeros(q.shape[1], dtype=torch.float64, device=q.device)
    for part, other in _tiles(q, n):
        total[part] += _fractional(q[:, part], n[:, other], f).sum(dim=1)
    return total.cpu().numpy().astype(rows.dtype)


def fractional_sums_within(rows: np.ndarray, f: float) -> np.ndarray:
    """`fractional_sums` of rows to themselves; each pair is computed once, the distance being symmetric."""
    x = _columns((rows - rows.mean(axis=0)).astype(np.float32))
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
    """Pairs of slices of the two, tiles of one size on a grid that both share."""
    side = int(block_numbers() ** 0.5)
    for start in range(0, rows.shape[1], side):
        for other in range(0, others.shape[1], side):
            yield slice(start, start + side), slice(other, other + side)


def _fractional(rows: Tensor, others: Tensor, f: float) -> Tensor:
    """(d, Q) and (d, N) to (Q, N), a component at a time: never (Q, N, d)."""
    total = rows.new_zeros(rows.shape[1], others.shape[1])
    gap = torch.empty_like(total)
    for row, other in zip(rows, others, strict=True):
        torch.sub(row[:, None], other[None, :], out=gap).abs_()
        total += gap.sqrt_() if f == 0.5 else gap.pow_(f)
    return total.square_() if f == 0.5 else total.pow_(1 / f)


def euclidean_distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """|x - y| for every pair, by differences: the expanded square loses half the digits near 0. (Q, N)."""
    q, n = _placed(rows), _placed(others)
    out = np.empty((len(rows), len(others)), rows.dtype)
    for part in blocks(len(rows), len(others)):
        out[part] = torch.cdist(q[part], n, compute_mode="donot_use_mm_for_euclid_dist").cpu().numpy()
    return out


def nearest_distances(rows: np.ndarray, others: np.ndarray, k: int, own: np.ndarray | None = None) -> np.ndarray:
    """Euclidean distances to the k nearest of `others`, ascending: (Q, k).

    Args:
        rows: (Q, d).
        others: (N, d), N >= k, one more where `own` is given.
        k: how many.
        own: (Q,), the one of `others` that each row is and that does not count; None: all count.
    """
    q, n = _placed(rows), _placed(others)
    out = np.empty((len(rows), k), rows.dtype)
    for part in blocks(len(rows), len(others)):
        distances = torch.cdist(q[part], n, compute_mode="donot_use_mm_for_euclid_dist")
        if own is not None:
            index = torch.from_numpy(own[part]).to(distances.device)
            distances[torch.arange(len(index), device=index.device), index] = torch.inf
        out[part] = distances.topk(k, dim=1, largest=False).values.cpu().numpy()
    return out


def cosine_counts(rows: np.ndarray, others: np.ndarray, thresholds: tuple[float, ...]) -> np.ndarray:
    """How many of the unit vectors `others` have a dot product with each unit row above each threshold: (Q, T)."""
    q, n = _placed(rows), _placed(others)
    out = np.empty((len(rows), len(thresholds)), rows.dtype)
    for part in blocks(len(rows), len(others)):
        cosine = q[part] @ n.T
        for column, threshold in enumerate(thresholds):
            out[part, column] = _counted(cosine > threshold)
    return out


def _counted(mask: Tensor) -> np.ndarray:
    # NumPy counts booleans five times as fast as PyTorch's CPU reduction.
    if mask.device.type == "cpu":
        return np.count_nonzero(mask.numpy(), axis=1)
    return mask.sum(dim=1).cpu().numpy()


def log_kernel_sums(
    rows: np.ndarray, points: np.ndarray, ends: np.ndarray, bandwidth: float, own: np.ndarray | None = None
) -> np.ndarray:
    """log of the sum of exp(-|x - y|^2 / 2h^2) over each group of points: (Q, G), float64; -inf for an empty sum.

    The exponents come from one product of matrices in float64. Exponentials are summed in float32 below each group's
    largest, all of one sign: relative 1e-6 of a sum whose logarithm is wanted.

    Args:
        rows: (Q, d).
        points: (P, d), the groups one after the other; a point may stand in several.
        ends: (G,), where each group ends.
        bandwidth: h.
        own: (M, 2), pairs of row and point that don't count, sorted by row; None: all count.
    """
    left, right = _quadratic(_placed(rows).double(), _placed(points).double(), bandwidth)
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
    """logsumexp over columns, which it overwrites; -inf where all are."""
    top = logs.amax(dim=1, keepdim=True)
    safe = torch.where(top.isfinite(), top, 0.0)
    return logs.sub_(safe).exp_().sum(dim=1).log_() + safe[:, 0]


def _placed(rows: np.ndarray) -> Tensor:
    rows = np.ascontiguousarray(rows)
    # Arrays from an object store are read-only, which PyTorch warns of though nothing here writes to them.
    return torch.from_numpy(rows if rows.flags.writeable else rows.copy()).to(device())


def _columns(rows: np.ndarray) -> Tensor:
    """(N, d) to (d, N) on the device."""
    return _placed(rows.T)
