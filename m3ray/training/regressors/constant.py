"""The constant: the weighted mean of the train split's scores."""

from __future__ import annotations

import numpy as np

from m3ray.model.regressors import Constant
from m3ray.training.regressors.base import Fit, TrainRows

# What is predicted where no clip has a score to learn from: the middle of the model's scale.
_UNKNOWN = 0.5


def fit_constant(rows: TrainRows) -> Fit:
    """Fit the constant.

    Args:
        rows: The train split.
    Returns:
        The mean of all clips' scores; out of fold, that of the other folds' clips.
    """
    out_of_fold = np.empty(len(rows.scores))
    for part in rows.left_out:
        rest = np.setdiff1d(np.arange(len(rows.scores)), part)
        out_of_fold[part] = _mean(rows.scores[rest], rows.weights[rest])
    value = _mean(rows.scores, rows.weights)
    return Fit(Constant(value, rows.features.shape[1]), out_of_fold, {"value": value})


def _mean(scores: np.ndarray, weights: np.ndarray) -> float:
    if len(scores) == 0:
        return _UNKNOWN
    return float(np.average(scores, weights=weights if weights.sum() > 0 else None))
