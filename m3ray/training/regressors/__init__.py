"""Regressors beside the MLP, fitted on the train split of the same matrix: what the MLP is measured against."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np

from m3ray.errors import ConfigError, FeatureError, ShapeError
from m3ray.training.regressors.base import Fit, FittedRegressor, TrainRows, UnfitError
from m3ray.training.regressors.boosting import fit_boosting
from m3ray.training.regressors.constant import fit_constant
from m3ray.training.regressors.ridge import fit_ridge
from m3ray.training.regressors.svr import fit_svr

# Of few clips, hyper-parameters that were chosen by the folds make the same folds' errors 4 to 9 % too small; of more,
# hardly, and choosing again without each fold takes long.
MOST_NESTED = 400

REGRESSORS: dict[str, Callable[[TrainRows], Fit]] = {
    "ridge": fit_ridge,
    "svr": fit_svr,
    "boosting": fit_boosting,
    "constant": fit_constant,
}


def fit_regressor(
    name: str,
    features: np.ndarray,
    scores: np.ndarray,
    folds: np.ndarray,
    weights: np.ndarray | None = None,
    seed: int = 0,
    cores: int = 2,
) -> FittedRegressor:
    """Fit a regressor on the train split, and predict each of its clips by a model that did not see it.

    Hyper-parameters are chosen by those predictions' mean squared error; of up to 400 clips, anew without each fold
    for what predicts it.

    Args:
        name: Name of the regressor, a key of `REGRESSORS`.
        features: Columns of the study's scaled matrix, (T, F), float32.
        scores: What is to be predicted, on the model's scale, (T,).
        folds: Fold of each clip, (T,); clips of one source are in one fold.
        weights: Weight of each clip, (T,), not negative, of any scale; None: all weigh the same.
        seed: Seed of whatever is drawn; the same seed gives the same model.
        cores: Cores to compute on.
    Returns:
        The regressor; the constant, with the reason, where it cannot be fitted on so little.
    Raises:
        ConfigError: If there is no such regressor.
        ShapeError: If there are no clips, or not as many scores, folds and weights as clips.
        FeatureError: If a feature, a score or a weight is not finite.
    """
    if name not in REGRESSORS:
        raise ConfigError(f"unknown regressor {name}, expected one of {', '.join(REGRESSORS)}")
    rows = _check_rows(features, scores, folds, weights, seed, cores)
    start = time.perf_counter()
    with _compute_quietly():
        fit = _fit_or_fall_back(name, rows)
    return FittedRegressor(name, fit.model, fit.out_of_fold, fit.chosen, time.perf_counter() - start)


def _check_rows(
    features: np.ndarray,
    scores: np.ndarray,
    folds: np.ndarray,
    weights: np.ndarray | None,
    seed: int,
    cores: int,
) -> TrainRows:
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)
    lengths = {len(features), len(scores), len(folds), len(weights)}
    if features.ndim != 2 or len(lengths) > 1 or len(features) == 0:
        raise ShapeError(
            f"expected features (T, F) and T scores, folds and weights, got features {features.shape}, "
            f"{len(scores)} scores, {len(folds)} folds and {len(weights)} weights"
        )
    for what, values in (("feature", features), ("score", scores), ("weight", weights)):
        if not np.isfinite(values).all():
            raise FeatureError(f"a train clip's {what} is NaN or infinite: drop such clips before fitting")
    weights = weights / weights.mean() if weights.sum() > 0 else np.ones(len(weights))
    return TrainRows(features, np.asarray(scores, np.float64), weights, np.asarray(folds), seed, cores)


def _fit_or_fall_back(name: str, rows: TrainRows) -> Fit:
    try:
        _check_enough(rows)
        fit = REGRESSORS[name](rows)
        if len(rows.scores) <= MOST_NESTED and len(rows.left_out) > 2:
            fit = replace(fit, out_of_fold=_predict_nested(name, rows, fit))
        if not np.isfinite(fit.out_of_fold).all():
            raise UnfitError("its predictions out of fold were not all finite")
        return fit
    except (UnfitError, np.linalg.LinAlgError) as error:
        fit = fit_constant(rows)
        return Fit(fit.model, fit.out_of_fold, {**fit.chosen, "reason": str(error)})


def _predict_nested(name: str, rows: TrainRows, fit: Fit) -> np.ndarray:
    """Predict each fold by a model whose hyper-parameters the other folds alone have chosen, (T,)."""
    predictions = fit.out_of_fold.copy()
    for part in rows.left_out:
        rest = np.setdiff1d(np.arange(len(predictions)), part)
        with suppress(UnfitError, np.linalg.LinAlgError):  # too few without the fold: chosen with it
            inner = rows.of(rest)
            _check_enough(inner)
            predictions[part] = REGRESSORS[name](inner).model(rows.features[part])
    return predictions


def _check_enough(rows: TrainRows) -> None:
    if len(rows.left_out) < 2:
        raise UnfitError("all train clips are in one fold, so none can be predicted by a model that did not see it")
    if not np.ptp(rows.features, axis=0).any():
        raise UnfitError("no feature varies among the train clips")
    if not rows.weights.any():
        raise UnfitError("all train clips weigh nothing")


@contextmanager
def _compute_quietly() -> Iterator[None]:
    """Without the library's warnings, which speak to who calls it, and on one core.

    Folds run side by side. Several threads in one product or factor would wait for one another wherever the machine
    has other work, and gain nothing on small matrices.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        yield


__all__ = ["REGRESSORS", "FittedRegressor", "fit_regressor"]
