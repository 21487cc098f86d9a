"""How well predictions agree with scores. The last dimension is the clips; leading ones are runs.

Weights are those of clips, as that of a clip whose score many viewers gave: finite, not negative, of any scale. Whole
numbers count as that many repetitions of a clip.
"""

from __future__ import annotations

import numpy as np
import scipy

# Pairs of clips compared at once: their signs take 8 MB.
_PAIRS_AT_ONCE = 1_000_000


def spearman(prediction: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Spearman's rank correlation, ties at their mean rank.

    Args:
        prediction: predicted scores, (..., N).
        score: true scores, (N,).
        weights: weight of each clip, (N,): Pearson's correlation of weighted ranks, weighted; None: all equal.
    Returns:
        In [-1, 1], (...); NaN where either is constant.
    """
    if weights is not None:
        return _weighted_spearman(prediction, score, weights)
    a, b = scipy.stats.rankdata(prediction, axis=-1), scipy.stats.rankdata(score, axis=-1)
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    scale = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(axis=-1) / scale


def weighted_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Ranks of weighted values: the weight of all that is less, and half of the weight of what is equal.

    Args:
        values: numbers to rank, (..., N).
        weights: weight of each, (N,).
    Returns:
        Ranks, float64, (..., N), in the weights' units; NaN in a row that holds one. Weights of 1 give the mean ranks
        of ties, less a half.
    """
    rows = values.reshape(-1, values.shape[-1])
    return np.stack([_rank_row(row, weights) for row in rows]).reshape(values.shape)


def _rank_row(row: np.ndarray, weights: np.ndarray) -> np.ndarray:
    if np.isnan(row).any():
        return np.full(len(row), np.nan)
    _, place = np.unique(row, return_inverse=True)
    mass = np.bincount(place, weights)
    return (mass.cumsum() - mass / 2)[place]


def _weighted_spearman(prediction: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    # r = sum w (a - mean a)(b - mean b) / sqrt(sum w (a - mean a)^2 sum w (b - mean b)^2), means weighted
    weights = np.asarray(weights, np.float64)  # before the sum: of float32 it is off by more than a constant's rounding
    weights = weights / weights.sum()
    a, b = weighted_ranks(prediction, weights), weighted_ranks(score, weights)
    a, b = a - (a @ weights)[..., None], b - b @ weights
    variances = ((a**2) @ weights) * ((b**2) @ weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Rounding leaves a constant's ranks a deviation of 1e-17 or so.
        return np.where(variances > 1e-24, (a * b) @ weights / np.sqrt(variances), np.nan)


def mse(prediction: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean squared error.

    Args:
        prediction: predicted scores, (..., N).
        score: true scores, (N,).
        weights: weight of each clip, (N,); None: all equal.
    Returns:
        (...).
    """
    return _mean((prediction - score) ** 2, weights)


def mae(prediction: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean absolute error.

    Args:
        prediction: predicted scores, (..., N).
        score: true scores, (N,).
        weights: weight of each clip, (N,); None: all equal.
    Returns:
        (...).
    """
    return _mean(np.abs(prediction - score), weights)


def _mean(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    if weights is None:
        return np.mean(values, axis=-1)
    return np.asarray(np.average(values, axis=-1, weights=weights))


def kendall(prediction: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Kendall's tau-b.

    Args:
        prediction: predicted scores, (..., N).
        score: true scores, (N,).
        weights: weight of each clip, (N,): a pair of clips weighs the product of theirs; None: all equal.
    Returns:
        In [-1, 1], (...); NaN where either is constant.
    """
    rows = prediction.reshape(-1, prediction.shape[-1])
    if weights is not None:
        return _weighted_kendall(rows, score, weights).reshape(prediction.shape[:-1])
    return np.array([scipy.stats.kendalltau(row, score).statistic for row in rows]).reshape(prediction.shape[:-1])


def _weighted_kendall(rows: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Tau-b of each row of (R, N), block by block of the clips' pairs."""
    weights = np.asarray(weights, np.float64) / np.sum(weights)
    agreement, untied = np.zeros(len(rows)), np.zeros(len(rows))
    untied_scores = 0.0
    step = max(1, _PAIRS_AT_ONCE // len(score))
    for start in range(0, len(score), step):
        part = slice(start, start + step)
        signs = np.sign(score[part, None] - score)
        untied_scores += weights[part] @ np.abs(signs) @ weights
        for k, row in enumerate(rows):
            own = np.sign(row[part, None] - row)
            agreement[k] += weights[part] @ (own * signs) @ weights
            untied[k] += weights[part] @ np.abs(own) @ weights
    # tau-b = sum w w' sign(x - x') sign(y - y') / sqrt(sum w w' [x != x'] sum w w' [y != y'])
    with np.errstate(invalid="ignore", divide="ignore"):
        return agreement / np.sqrt(untied * untied_scores)


METRICS = {"spearman": spearman, "mse": mse, "mae": mae, "kendall": kendall}
