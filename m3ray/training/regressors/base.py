"""What every regressor is fitted on, and what fitting it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from m3ray.model.regressors import Regressor


class UnfitError(Exception):
    """A regressor cannot be fitted on these clips, in plain words; the constant takes its place."""


@dataclass(frozen=True)
class TrainRows:
    """The train split as a regressor sees it.

    Args:
        features: Columns of the study's scaled matrix, (T, F), float32.
        scores: What is to be predicted, on the model's scale, (T,), float64.
        weights: Weight of each clip, (T,), float64, with mean 1.
        folds: Fold of each clip, (T,), int64.
        seed: Seed of whatever is drawn.
        cores: Cores to compute on.
    """

    features: np.ndarray
    scores: np.ndarray
    weights: np.ndarray
    folds: np.ndarray
    seed: int = 0
    cores: int = 2

    @property
    def left_out(self) -> list[np.ndarray]:
        """Rows of each fold that holds a clip."""
        return [np.flatnonzero(self.folds == fold) for fold in np.unique(self.folds)]

    def of(self, clips: np.ndarray) -> TrainRows:
        """Some of the clips, by their rows."""
        cut = {name: getattr(self, name)[clips] for name in ("features", "scores", "weights", "folds")}
        return replace(self, **cut)

    def score_error(self, predictions: np.ndarray) -> float:
        """Compute the weighted mean squared error of predictions, (T,)."""
        return float(np.average((predictions - self.scores) ** 2, weights=self.weights))


@dataclass(frozen=True)
class Fit:
    """What a regressor's fit function gives.

    Args:
        model: The regressor, fitted on all train clips.
        out_of_fold: Predictions of each train clip by a model that did not see it, (T,), float64.
        chosen: Hyper-parameters, as JSON keeps them.
    """

    model: Regressor
    out_of_fold: np.ndarray
    chosen: dict[str, Any]


@dataclass(frozen=True)
class FittedRegressor:
    """A regressor fitted on the train split.

    Args:
        name: Name of the regressor, a key of `REGRESSORS`.
        model: What predicts.
        out_of_fold: Predictions of each train clip by a model that did not see it, on the model's scale, not clipped,
            (T,), float64, all finite.
        chosen: Hyper-parameters, as JSON keeps them; `reason`, in plain words, where the constant took its place.
        seconds: Time that fitting took.
    """

    name: str
    model: Regressor
    out_of_fold: np.ndarray
    chosen: dict[str, Any]
    seconds: float


def run_side_by_side(run: Callable[[np.ndarray], None], parts: Sequence[np.ndarray], cores: int) -> None:
    """Fit folds side by side, one core each.

    libsvm and the trees let go of the interpreter's lock while they compute, so threads suffice; and threads of
    OpenMP's own inside each fold would wait for one another wherever the machine has other work.

    Args:
        run: Function that fits without a fold's clips and predicts them.
        parts: Rows of each fold.
        cores: Most folds at once.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with ThreadPoolExecutor(max(1, cores), initializer=threadpool_limits, initargs=(1, "openmp")) as pool:
        list(pool.map(run, parts))
