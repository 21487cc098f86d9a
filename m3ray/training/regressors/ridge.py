"""Ridge regression, its penalty and its columns' scaling chosen out of fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m3ray.model.regressors import Linear
from m3ray.training.regressors.base import Fit, TrainRows
from m3ray.training.regressors.ridge_path import Moments, PathChoice, choose_penalty, solve_path


@dataclass(frozen=True)
class _Reduced:
    """The train clips' features, centred, scaled, and turned into as few columns as there are clips.

    Args:
        x: Features, (T, M), M = min(T, F).
        mean: Mean of each column before, (F,).
        deviation: What each column was divided by, (F,).
        axes: Turn from F columns to M, (F, M); None: none.
    """

    x: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    axes: np.ndarray | None

    def fold_in(self, weights: np.ndarray, score: float) -> Linear:
        """Make weights of the M columns, (M,), and the score at their mean a model of the features as they came."""
        turned = weights if self.axes is None else self.axes @ weights
        own = turned / self.deviation
        return Linear(own, float(score - self.mean @ own))


def fit_ridge(rows: TrainRows) -> Fit:
    """Fit a ridge regression.

    The columns as the study scaled them, and each brought to a deviation of 1, compete out of fold: the first keeps
    the ratios between a vector's directions, the second those between columns of unlike units.

    Args:
        rows: The train split.
    Returns:
        The linear model with the least squared error out of fold.
    Raises:
        UnfitError: If no column varies.
    """
    scalings = {"as given": False, "standardised": True}
    trials = {name: _choose(rows, standardised=value) for name, value in scalings.items()}
    best = min(trials, key=lambda name: trials[name].error)
    choice, reduced = trials[best], _reduce(rows, standardised=scalings[best])
    total = Moments.of(reduced.x, rows.scores, rows.weights).center()
    weights = solve_path(total, np.array([choice.penalty]))[:, 0]
    # The reduced columns' mean is 0 but for rounding.
    model = reduced.fold_in(weights, total.score - total.mean @ weights)
    return Fit(model, choice.out_of_fold, {"scaling": best, "penalty": choice.penalty})


def _choose(rows: TrainRows, *, standardised: bool) -> PathChoice:
    x = _reduce(rows, standardised=standardised).x
    return choose_penalty(x, rows, Moments.of(x, rows.scores, rows.weights))


def _reduce(rows: TrainRows, *, standardised: bool) -> _Reduced:
    x = rows.features.astype(np.float64)
    mean = np.average(x, axis=0, weights=rows.weights)
    x -= mean
    # No score takes part in the deviations, so that the folds may share them.
    deviation = measure_deviation(x, mean, rows.weights) if standardised else np.ones(len(mean))
    x /= deviation
    if x.shape[0] >= x.shape[1]:
        return _Reduced(x, mean, deviation, None)
    # A turn changes neither the predictions nor the sum of squared weights: X' = Q R, so X w = R' (Q' w).
    axes, triangle = np.linalg.qr(x.T)
    return _Reduced(np.ascontiguousarray(triangle.T), mean, deviation, axes)


def measure_deviation(centered: np.ndarray, mean: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Measure each column's standard deviation.

    Args:
        centered: Features less their mean, (T, F).
        mean: Mean of each column, (F,).
        weights: Weight of each clip, (T,).
    Returns:
        Deviations, (F,); 1 where a column varies by no more than the rounding of float32.
    """
    deviation = np.sqrt(np.average(np.square(centered), axis=0, weights=weights))
    return np.where(deviation > 1e-6 * np.maximum(np.abs(mean), 1e-6), deviation, 1.0)
