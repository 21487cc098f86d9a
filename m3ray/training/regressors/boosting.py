"""Gradient-boosted trees, the number of trees chosen out of fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from m3ray.model.regressors import Trees
from m3ray.model.regressors.trees import LEAF
from m3ray.training.regressors.base import Fit, TrainRows, UnfitError, run_side_by_side
from m3ray.training.regressors.components import Components, fit_components

# Columns up to which trees split all features themselves; beyond, components, and the columns that correlate best.
FEW_COLUMNS = 400
_COMPONENTS = 50
_BEST_COLUMNS = 100
_LEAST_TREES, _MOST_TREES = 60, 300
_LEAST_CLIPS = 10

_COMMON: Mapping[str, Any] = {"learning_rate": 0.1, "l2_regularization": 1.0, "early_stopping": False}
# From nearly additive to scikit-learn's own size, for interactions; each split sees some of the columns only.
_CANDIDATES: Sequence[Mapping[str, Any]] = (
    {"max_leaf_nodes": 4, "max_features": 0.5},
    {"max_leaf_nodes": 8, "max_features": 0.5},
    {"max_leaf_nodes": 31, "max_features": 1.0},
)
# Up to so many clips, whose leaves hold a twentieth of them or more, the last candidate is the one before.
_FEW_CLIPS = 400
# More columns than this: one candidate, as each takes seconds.
_MANY_COLUMNS = 100
_OF_MANY: Sequence[Mapping[str, Any]] = ({"max_leaf_nodes": 8, "max_features": 0.3},)


@dataclass(frozen=True)
class _Curve:
    """How a candidate does with each number of trees.

    Args:
        settings: Settings of the candidate.
        trees: The best number of trees.
        error: Mean squared error out of fold with so many.
        out_of_fold: Predictions of each clip with so many, (T,).
    """

    settings: Mapping[str, Any]
    trees: int
    error: float
    out_of_fold: np.ndarray


def fit_boosting(rows: TrainRows) -> Fit:
    """Fit gradient-boosted trees.

    Args:
        rows: The train split.
    Returns:
        The trees, as many as had the least squared error out of fold.
    Raises:
        UnfitError: If there are too few clips to split.
    """
    smallest = len(rows.scores) - max(len(part) for part in rows.left_out)
    if smallest < _LEAST_CLIPS:
        raise UnfitError(f"trees need {_LEAST_CLIPS} clips outside each fold, got {smallest}")
    components = _find_components(rows)
    candidates = _list_candidates(rows)
    best = min((_trace_curve(settings, components, rows) for settings in candidates), key=lambda curve: curve.error)
    everyone = np.arange(len(rows.scores))
    inputs = _choose_inputs(components, rows, everyone)
    model = _fit_trees(best.settings, best.trees, inputs, rows, everyone)
    chosen = {"trees": best.trees, "leaves": best.settings["max_leaf_nodes"], "components": components is not None}
    return Fit(flatten_trees(model, rows.features.shape[1], inputs), best.out_of_fold, chosen)


def _list_candidates(rows: TrainRows) -> Sequence[Mapping[str, Any]]:
    if rows.features.shape[1] > _MANY_COLUMNS:
        return _OF_MANY
    return _CANDIDATES if len(rows.scores) > _FEW_CLIPS else _CANDIDATES[:2]


def _find_components(rows: TrainRows) -> Components | None:
    # No score takes part in the components, so that the folds may share them.
    return None if rows.features.shape[1] <= FEW_COLUMNS else fit_components(rows.features, _COMPONENTS, rows.seed)


@dataclass(frozen=True)
class Inputs:
    """A projection of the features to what trees split.

    Args:
        mean: What is subtracted before, (F,), float64.
        axes: The projection, (F, D), float32.
    """

    mean: np.ndarray
    axes: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Project features, (N, F) to (N, D), float64."""
        return (features.astype(np.float64) - self.mean) @ self.axes


def _choose_inputs(components: Components | None, rows: TrainRows, clips: np.ndarray) -> Inputs | None:
    """Components, and the columns that correlate best with the scores of some clips; None: all columns."""
    if components is None:
        return None
    x = rows.features[clips] - components.mean.astype(np.float32)
    scores = (rows.scores[clips] - np.average(rows.scores[clips])).astype(np.float32)
    sizes = np.sqrt(np.square(x).sum(axis=0))
    correlations = np.abs(scores @ x) / np.where(sizes > 0, sizes, 1)
    columns = np.sort(np.argsort(-correlations, kind="stable")[:_BEST_COLUMNS])
    picked = np.zeros((len(components.mean), len(columns)), np.float32)
    picked[columns, np.arange(len(columns))] = 1
    return Inputs(components.mean, np.hstack([components.axes, picked]))


def _trace_curve(settings: Mapping[str, Any], components: Components | None, rows: TrainRows) -> _Curve:
    most = _limit_trees(len(rows.scores))
    predictions = np.empty((most, len(rows.scores)))

    def predict(part: np.ndarray) -> None:
        rest = np.setdiff1d(np.arange(len(rows.scores)), part)
        inputs = _choose_inputs(components, rows, rest)
        model = _fit_trees(settings, most, inputs, rows, rest)
        for count, staged in enumerate(model.staged_predict(_project(inputs, rows, part))):
            predictions[count, part] = staged

    run_side_by_side(predict, rows.left_out, rows.cores)
    errors = [rows.score_error(row) for row in predictions]
    best = int(np.argmin(errors))
    return _Curve(settings, best + 1, errors[best], predictions[best].copy())


def _limit_trees(clips: int) -> int:
    # Few clips are learned by few trees, whose cost does not depend on the clips.
    return int(np.clip(clips // 3, _LEAST_TREES, _MOST_TREES))


def _project(inputs: Inputs | None, rows: TrainRows, clips: np.ndarray) -> np.ndarray:
    features = rows.features[clips]
    return features.astype(np.float64) if inputs is None else inputs(features)


def _fit_trees(
    settings: Mapping[str, Any], trees: int, inputs: Inputs | None, rows: TrainRows, clips: np.ndarray
) -> Any:
    x = _project(inputs, rows, clips)
    # Equal weights are left out: scikit-learn computes each bin of weighted clips by itself, at ten times the cost.
    weights = rows.weights[clips] if np.ptp(rows.weights[clips]) > 0 else None
    return _make(settings, trees, rows, len(clips)).fit(x, rows.scores[clips], weights)


def _make(settings: Mapping[str, Any], trees: int, rows: TrainRows, clips: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    leaf = int(np.clip(clips // 20, 2, 20))
    return HistGradientBoostingRegressor(
        **_COMMON, **settings, max_iter=trees, min_samples_leaf=leaf, random_state=rows.seed
    )


def flatten_trees(model: Any, columns: int, inputs: Inputs | None = None) -> Trees:
    """Take the trees out of scikit-learn's model.

    Args:
        model: A fitted `HistGradientBoostingRegressor` of numerical features without missing values.
        columns: Number of columns of the study's matrix, F.
        inputs: Projection of the features to what the trees split; None: the features themselves.
    Returns:
        The trees as arrays.
    """
    # Each iteration holds a list of one tree for each output, of which a regression has one.
    trees = [predictors[0].nodes for predictors in model._predictors]
    sizes = np.array([len(nodes) for nodes in trees])
    roots = np.cumsum(sizes) - sizes
    nodes = np.concatenate(trees)
    shift = np.repeat(roots, sizes)
    is_leaf = nodes["is_leaf"].astype(bool)
    return Trees(
        baseline=float(np.ravel(model._baseline_prediction)[0]),
        inputs=columns,
        mean=inputs.mean if inputs else None,
        axes=inputs.axes if inputs else None,
        roots=roots.astype(np.int32),
        feature=np.where(is_leaf, LEAF, nodes["feature_idx"]).astype(np.int32),
        threshold=np.where(is_leaf, 0.0, nodes["num_threshold"]),
        left=np.where(is_leaf, LEAF, nodes["left"] + shift).astype(np.int32),
        right=np.where(is_leaf, LEAF, nodes["right"] + shift).astype(np.int32),
        value=np.where(is_leaf, nodes["value"], 0.0),
    )
