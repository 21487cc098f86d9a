"""How much each clip moves a metric: its value, and the influence of every clip on it, run by run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# From predictions (R, V), scores (V,) and shares (V,) to the metric (R,) and the clips' influence (R, V).
Influence = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def share_weights(clips: int, weights: np.ndarray | None) -> np.ndarray:
    """Share of each clip in a metric.

    Args:
        clips: Number of clips, V.
        weights: Weight of each clip, (V,), at least 0; None: all alike.
    Returns:
        (V,), with sum 1.
    """
    if weights is None:
        return np.full(clips, 1 / clips)
    values = np.asarray(weights, float)
    values = values / values.max()  # a sum of very large ones would overflow
    return values / values.sum()


def spearman_influence(predictions: np.ndarray, truth: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spearman's rank correlation of each run, and its infinitesimal jackknife over the clips.

    The correlation is Pearson's of weighted midranks. A clip moves it by its own place and by the ranks that it gives
    to all others; both parts are counted (Efron 1982, The jackknife, the bootstrap and other resampling plans, 6.3).

    Args:
        predictions: Predicted scores, (R, V).
        truth: Scores, (V,).
        shares: Share of each clip, (V,), with sum 1.
    Returns:
        The correlation, (R,), and the derivative along each clip, (R, V), whose mean weighted by `shares` is 0; both
        not a number where the correlation is undefined.
    """
    truth_ranks, truth_above = _rank_shares(truth, shares)
    pairs = [_correlate(row, truth_ranks, truth_above, shares) for row in predictions]
    return np.array([rho for rho, _ in pairs]), np.stack([influence for _, influence in pairs])


def mse_influence(predictions: np.ndarray, truth: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared error of each run, and how far each clip's error lies from it.

    Args:
        predictions: Predicted scores, (R, V).
        truth: Scores, (V,).
        shares: Share of each clip, (V,), with sum 1.
    Returns:
        The error, (R,), and the derivative along each clip, (R, V), whose mean weighted by `shares` is 0.
    """
    errors = (predictions - truth) ** 2
    mean = errors @ shares
    return mean, errors - mean[:, None]


INFLUENCES: dict[str, Influence] = {"spearman": spearman_influence, "mse": mse_influence}

_Above = Callable[[np.ndarray], np.ndarray]


def _rank_shares(values: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, _Above]:
    """Weighted midranks in [0, 1], and the function that sums numbers over the clips above each clip, ties by half."""
    _, group = np.unique(values, return_inverse=True)

    def sum_above(numbers: np.ndarray) -> np.ndarray:
        sums = np.bincount(group, weights=numbers)
        return (sums.sum() - np.cumsum(sums) + sums / 2)[group]

    return 1 - sum_above(shares), sum_above


def _correlate(
    row: np.ndarray, truth_ranks: np.ndarray, truth_above: _Above, shares: np.ndarray
) -> tuple[float, np.ndarray]:
    """Correlation of one run and its influence.

    With midranks u, v (mean 1/2, linear in the shares w): A = sum w u v - 1/4, B = sum w u u - 1/4,
    C = sum w v v - 1/4 and rho = A / sqrt(B C). More of clip k changes sum w u v by u_k v_k, and by the ranks of all
    clips above it.
    """
    undefined = np.nan, np.full(len(row), np.nan)
    if not np.isfinite(row).all():
        return undefined
    u, above = _rank_shares(row, shares)
    v = truth_ranks
    a, b, c = (shares @ (x * y) - 0.25 for x, y in ((u, v), (u, u), (v, v)))
    if min(b, c) <= 1e-12:
        return undefined
    moved_a = u * v + above(shares * v) + truth_above(shares * u) - 3 * (a + 0.25)
    moved_b = u * u + 2 * above(shares * u) - 3 * (b + 0.25)
    moved_c = v * v + 2 * truth_above(shares * v) - 3 * (c + 0.25)
    # The constant 1/4 is the square of the mean rank, which is 1/2 times the sum of the shares: its change is 0 here.
    rho = a / np.sqrt(b * c)
    return float(rho), moved_a / np.sqrt(b * c) - rho / 2 * (moved_b / b + moved_c / c)
