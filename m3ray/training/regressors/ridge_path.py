"""The whole path of a ridge regression's penalties, for all folds of the clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from m3ray.training.regressors.base import TrainRows, UnfitError, run_side_by_side

# Columns up to which a fold's whole path comes from an eigendecomposition. That of 3,600 columns takes as long as some
# hundred Cholesky factors, which keep the processor's cores busy; so beyond this there is a factor for each penalty.
EIGEN_COLUMNS = 1000

# Penalties reach from this share of the mean eigenvalue to this multiple of all eigenvalues' sum.
_LEAST, _MOST = 1e-6, 10.0
_PER_DECADE = 3


@dataclass(frozen=True)
class Moments:
    """Weighted sums over some clips.

    Args:
        weight: Sum of their weights.
        mean: Sum of their features, (M,).
        score: Sum of their scores.
        gram: Sum of products of features, (M, M).
        cross: Sum of products of features and score, (M,).
    """

    weight: float
    mean: np.ndarray
    score: float
    gram: np.ndarray
    cross: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> Moments:
        """Sum over clips: features (n, M), scores (n,) and weights (n,)."""
        weighted = x * weights[:, None]
        return cls(
            float(weights.sum()), weighted.sum(axis=0), float(weights @ scores), weighted.T @ x, scores @ weighted
        )

    def without(self, other: Moments) -> Moments:
        """Take the sums of some of the clips away."""
        return Moments(
            self.weight - other.weight,
            self.mean - other.mean,
            self.score - other.score,
            self.gram - other.gram,
            self.cross - other.cross,
        )

    def center(self) -> Moments:
        """Give means instead of sums, and products of what is left when the means are taken away."""
        if self.weight <= 0:
            raise UnfitError("all clips outside one fold weigh nothing")
        mean, score = self.mean / self.weight, self.score / self.weight
        # sum w (x - m)(x - m)' = sum w x x' - W m m'
        gram = self.gram - self.weight * np.outer(mean, mean)
        return Moments(self.weight, mean, score, gram, self.cross - self.score * mean)


def solve_path(centered: Moments, penalties: np.ndarray) -> np.ndarray:
    """Solve a ridge regression for each penalty; the intercept is not penalised.

    Args:
        centered: Centred moments of the clips.
        penalties: Penalties of the weights' squared sum, (P,), positive.
    Returns:
        Weights of the columns, (M, P).
    """
    # w = (X'X + penalty)^-1 X'y
    if len(centered.mean) <= EIGEN_COLUMNS:
        values, axes = np.linalg.eigh(centered.gram)
        return axes @ ((axes.T @ centered.cross)[:, None] / (np.maximum(values, 0)[:, None] + penalties))
    return np.stack([_solve(centered, penalty) for penalty in penalties], axis=1)


def _solve(centered: Moments, penalty: float) -> np.ndarray:
    matrix = centered.gram.copy()
    matrix[np.diag_indices_from(matrix)] += penalty
    # Of PyTorch, whose library factors twice as fast as SciPy's and lets go of the interpreter's lock meanwhile.
    factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(matrix))
    if failed:
        raise UnfitError("its equations could not be solved: the columns' sizes are too unlike")
    return torch.cholesky_solve(torch.from_numpy(centered.cross)[:, None], factor)[:, 0].numpy()


def spread_penalties(centered: Moments) -> np.ndarray:
    """Spread penalties over the spectrum, from nearly none to nearly nothing but the mean.

    Args:
        centered: Centred moments of all clips.
    Returns:
        Penalties, ascending, (P,).
    Raises:
        UnfitError: If no column varies.
    """
    total = float(np.trace(centered.gram))
    if not total > 0:
        raise UnfitError("no feature varies among the train clips")
    low, high = np.log10(_LEAST * total / len(centered.mean)), np.log10(_MOST * total)
    return np.logspace(low, high, 1 + int(np.ceil((high - low) * _PER_DECADE)))


def predict_path(
    x: np.ndarray, rows: TrainRows, total: Moments, penalties: np.ndarray, parts: Sequence[np.ndarray] | None = None
) -> np.ndarray:
    """Predict each clip by the ridge regressions of the other folds' clips.

    Args:
        x: Features of the train clips, (T, M), float64.
        rows: Scores, weights and folds of the clips.
        total: Moments of all clips.
        penalties: Penalties, (P,).
        parts: Rows of each fold to predict; None: all folds.
    Returns:
        Predictions for each penalty, (T, P); NaN where a fold is not predicted.
    """
    predictions = np.full((len(x), len(penalties)), np.nan)

    def predict(part: np.ndarray) -> None:
        rest = total.without(Moments.of(x[part], rows.scores[part], rows.weights[part])).center()
        predictions[part] = (x[part] - rest.mean) @ solve_path(rest, penalties) + rest.score

    run_side_by_side(predict, rows.left_out if parts is None else parts, rows.cores)
    return predictions


@dataclass(frozen=True)
class PathChoice:
    """The best penalty of a path.

    Args:
        penalty: The penalty.
        error: Mean squared error of its predictions.
        out_of_fold: Its predictions of each clip by the other folds', (T,).
    """

    penalty: float
    error: float
    out_of_fold: np.ndarray


def choose_penalty(x: np.ndarray, rows: TrainRows, total: Moments) -> PathChoice:
    """Choose the penalty with the least squared error out of fold.

    One of some thirty neighbours is chosen by the very predictions that are given back: a mild optimism, as their
    errors hardly differ.

    Args:
        x: Features of the train clips, (T, M), float64.
        rows: Scores, weights and folds of the clips.
        total: Moments of all clips.
    Returns:
        The choice.
    """
    penalties = spread_penalties(total.center())
    if x.shape[1] <= EIGEN_COLUMNS:
        return _pick(penalties, predict_path(x, rows, total, penalties), rows)
    # Each penalty costs a factor for each fold: every fourth penalty by two folds first, then the best one and those
    # halfway to its neighbours by all.
    coarse, some = penalties[::4], np.concatenate(rows.left_out[:2])
    part = replace(rows, scores=rows.scores[some], weights=rows.weights[some])
    predictions = predict_path(x, rows, total, coarse, rows.left_out[:2])
    place = 4 * int(np.argmin([part.score_error(column) for column in predictions[some].T]))
    fine = penalties[[k for k in (place - 2, place, place + 2) if 0 <= k < len(penalties)]]
    return _pick(fine, predict_path(x, rows, total, fine), rows)


def _pick(penalties: np.ndarray, predictions: np.ndarray, rows: TrainRows) -> PathChoice:
    errors = [rows.score_error(column) for column in predictions.T]
    best = int(np.argmin(errors))
    return PathChoice(float(penalties[best]), errors[best], predictions[:, best].copy())
