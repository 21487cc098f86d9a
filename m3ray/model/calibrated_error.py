"""How far predictions lie from scores once a line has put them on the scores' scale.

Losses of ranks alone leave a model on no scale of its own: it may rank well and give every clip nearly one score. A
bundle is recalibrated, so what a search compares is the error after a recalibration, learnt without the clip.
"""

from __future__ import annotations

import numpy as np

from m3ray.model.metrics import mse

_LEAST_SPREAD = 1e-6  # of the largest prediction: less is a rounding error of float32, and ranks nothing
_ROUNDING = 1e-9


def predict_left_out(prediction: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Predict each clip by the line from predictions to scores that all other clips give.

    The least-squares line, with the closed form of leaving out one clip (Allen 1974, PRESS). Where the line would fall,
    and so reverse the ranking, it is the other clips' mean score.

    Args:
        prediction: predicted scores, (..., N).
        score: true scores, (N,).
        weights: weight of each clip, (N,); None: all equal.
    Returns:
        Recalibrated predictions, float64, (..., N); NaN where a run's predictions are constant or not finite.
    """
    x, y = np.asarray(prediction, np.float64), np.asarray(score, np.float64)
    shares = np.full(len(y), 1 / len(y)) if weights is None else np.asarray(weights, np.float64) / np.sum(weights)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        error = _errors_left_out(x - (x @ shares)[..., None], y - y @ shares, shares)
    return np.where(are_distinct(x)[..., None], y - error, np.nan)


def _errors_left_out(x: np.ndarray, y: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Score less recalibrated prediction, of centred predictions (..., N) and centred scores (N,)."""
    squares = (x**2 @ shares)[..., None]
    slope = ((x * y) @ shares)[..., None] / squares
    residual = y - slope * x
    # Leverage h of a clip: e / (1 - h) is its residual to the line of the others, whose slope is below.
    others = 1 - shares * (1 + x**2 / squares)
    slope_of_others = slope - shares * x * residual / (others * squares)
    # Where the others' predictions are all one, nothing but rounding is left of 1 - h.
    return np.where((slope_of_others > 0) & (others > _ROUNDING), residual / others, y / (1 - shares))


def are_distinct(prediction: np.ndarray) -> np.ndarray:
    """Tell whether runs predict finite scores that are not all one.

    Args:
        prediction: predicted scores, (..., N).
    Returns:
        bool, (...).
    """
    with np.errstate(invalid="ignore"):
        spread, largest = np.ptp(prediction, axis=-1), np.abs(prediction).max(axis=-1)
        return np.isfinite(prediction).all(axis=-1) & (spread > _LEAST_SPREAD * largest)


def calibrated_mse(prediction: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean squared error of predictions that were recalibrated by a line, learnt without the clip.

    Args:
        prediction: predicted scores, (..., N).
        score: true scores, (N,).
        weights: weight of each clip, (N,); None: all equal.
    Returns:
        (...); NaN where the predictions are constant or not finite.
    """
    return mse(predict_left_out(prediction, score, weights), score, weights)
