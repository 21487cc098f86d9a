"""How well predictions agree with scores. The last dimension is the clips; leading ones are runs."""

from __future__ import annotations

import numpy as np
from scipy.stats import kendalltau, rankdata


def spearman(prediction: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation, ties at their mean rank.

    Args:
        prediction: predicted scores, (..., N).
        score: true scores, (N,).
    Returns:
        In [-1, 1], (...); NaN where either is constant.
    """
    a, b = rankdata(prediction, axis=-1), rankdata(score, axis=-1)
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    scale = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(axis=-1) / scale


def mse(prediction: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Mean squared error.

    Args:
        prediction: predicted scores, (..., N).
        score: true scores, (N,).
    Returns:
        (...).
    """
    return np.mean((prediction - score) ** 2, axis=-1)


def mae(prediction: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Mean absolute error.

    Args:
        prediction: predicted scores, (..., N).
        score: true scores, (N,).
    Returns:
        (...).
    """
    return np.mean(np.abs(prediction - score), axis=-1)


def kendall(prediction: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Kendall's tau-b.

    Args:
        prediction: predicted scores, (..., N).
        score: true scores, (N,).
    Returns:
        In [-1, 1], (...); NaN where either is constant.
    """
    rows = prediction.reshape(-1, prediction.shape[-1])
    return np.array([kendalltau(row, score).statistic for row in rows]).reshape(prediction.shape[:-1])


METRICS = {"spearman": spearman, "mse": mse, "mae": mae, "kendall": kendall}
