"""Weights and a map fitted together, and measured on folds that neither was fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from m3ray.model.metrics import mse, spearman, weighted_ranks
from m3ray.model.mixture import Recalibration
from m3ray.training.member_weights import MemberRows, Weighing, weigh_members
from m3ray.training.recalibration import fit_isotonic, fit_line, share_weights

_PLAIN, _LINE, _ISOTONIC, _FAINT = "least squares", "line", "isotonic", "faint"
CONSTANT = "constant"
_FAINT_SHARE = 0.1  # of the differences that least squares gives, where those are not worth the noise in them


@dataclass(frozen=True)
class Fitted:
    """Weights of some members and the map of their sum, and how they do on clips that neither was fitted on.

    Args:
        weights: Name of each member to its weight.
        shares: The same in units of what each contributes to the sum's spread; they sum to 1, or are all 0.
        recalibration: Map from the weighted sum to the score.
        predictions: Score of each train clip by weights and map of the other folds, (T,), in the unit scale.
        sums: The same before the map, (T,), on the scores' scale.
        kind: What map it is; None: the members are as they were.
        spearman: Correlation of the truth's ranks with those of the sums by weights of the other folds: every map
            rises, so a bundle's scores have the order of its sums. None: undefined.
        mse: Their mean squared error; None: nothing was fitted.
        mean_error: Mean of prediction less truth; None: nothing was fitted.
    """

    weights: Mapping[str, float]
    shares: Mapping[str, float]
    recalibration: Recalibration
    predictions: np.ndarray
    sums: np.ndarray
    kind: str | None = None
    spearman: float | None = None
    mse: float | None = None
    mean_error: float | None = None

    def as_json(self) -> dict[str, Any]:
        """What `bundle.json` keeps of it."""
        found = {"spearman": self.spearman, "mse": self.mse, "mean_error": self.mean_error}
        return {"weights": dict(self.weights), "shares": dict(self.shares), "map": self.kind, **found}

    @property
    def caution(self) -> str | None:
        """What a reader must know of the scores, in words; None: nothing."""
        if self.kind == CONSTANT:
            return f"no better than one score for all clips: each gets {self.recalibration.intercept:.4f}"
        if self.kind == _FAINT:
            return "hardly better than one score for all clips: differences are shrunk to a tenth"
        return None


def fit_members(rows: MemberRows) -> Fitted:
    """Fit weights and map on all clips; the map is the one that did best on folds left out.

    Args:
        rows: What the members predict, and the truth.
    Returns:
        Weights and map, and what weights and maps of the other folds gave. Where no map is better than the mean score
        of the other folds, the map gives every clip the mean score.
    """
    weighing, left_out = weigh_members(rows), _predict_left_out(rows)
    constant = predict_constant(rows)
    kind = _choose_map(left_out, constant, rows)
    if kind is None:
        chosen, predictions = _fit_constant(rows), constant
    else:
        chosen, predictions = _shift(_fit_maps(rows, weighing)[kind], weighing.level), left_out[kind]
    spread = rows.outputs.std(axis=0) * weighing.weights
    total = float(spread.sum()) or 1.0
    sums = constant if kind is None else left_out[_PLAIN]
    rho = float("nan") if kind is None else float(spearman(sums, rows.truth, rows.weights))
    return Fitted(
        weights=dict(zip(rows.names, weighing.weights.tolist(), strict=True)),
        shares=dict(zip(rows.names, (spread / total).tolist(), strict=True)),
        recalibration=chosen,
        predictions=predictions,
        sums=sums,
        kind=kind or CONSTANT,
        spearman=rho if np.isfinite(rho) else None,
        mse=float(mse(predictions, rows.truth, rows.weights)),
        mean_error=float(np.average(predictions - rows.truth, weights=rows.weights)),
    )


def _fit_constant(rows: MemberRows) -> Recalibration:
    return Recalibration(0.0, float(share_weights(rows.weights, len(rows.truth)) @ rows.truth))


def _fit_maps(rows: MemberRows, weighing: Weighing) -> dict[str, Recalibration]:
    """The maps to choose from; a line and a curve are fitted on sums by weights of other folds."""
    if not weighing.weights.any():
        return {_PLAIN: _fit_constant(rows)}
    faint = Recalibration(_FAINT_SHARE, (1 - _FAINT_SHARE) * weighing.mean)
    maps = {_PLAIN: Recalibration(), _FAINT: faint}
    if len(np.unique(rows.folds)) < 2:
        return maps
    sums = np.empty(len(rows.truth))
    for fold in np.unique(rows.folds):
        inside = rows.folds == fold
        sums[inside] = weigh_members(rows.of(~inside)).sum_outputs(rows.outputs[inside])
    maps[_LINE] = fit_line(sums, rows.truth, rows.weights)
    maps[_ISOTONIC] = fit_isotonic(sums, rows.truth, rows.weights)
    return maps


def _shift(fitted: Recalibration, level: float) -> Recalibration:
    """The map of sums that do not have the level yet."""
    knots = None if fitted.knots is None else fitted.knots - level
    return replace(fitted, intercept=fitted.intercept + fitted.slope * level, knots=knots)


def _predict_left_out(rows: MemberRows) -> dict[str, np.ndarray]:
    """Kind of map to what weights and map of the other folds predict of each clip, (n,)."""
    predictions: dict[str, np.ndarray] = {}
    for fold in np.unique(rows.folds):
        inside = rows.folds == fold
        rest = rows.of(~inside)
        weighing = weigh_members(rest)
        sums = weighing.sum_outputs(rows.outputs[inside])
        for kind, fitted in _fit_maps(rest, weighing).items():
            predictions.setdefault(kind, np.full(len(inside), np.nan))
            predictions[kind][inside] = np.clip(fitted(sums), 0, 1)
    return {kind: values for kind, values in predictions.items() if np.isfinite(values).all()}


def predict_constant(rows: MemberRows) -> np.ndarray:
    """Predict each clip by the mean score of the other folds.

    Args:
        rows: The truth and the folds.
    Returns:
        Scores, (n,).
    """
    predictions = np.empty(len(rows.truth))
    for fold in np.unique(rows.folds):
        inside = rows.folds == fold
        predictions[inside] = _fit_constant(rows.of(~inside)).intercept
    return predictions


def _choose_map(left_out: Mapping[str, np.ndarray], constant: np.ndarray, rows: MemberRows) -> str | None:
    """The simplest map that is better than the constant, unless another is clearly better; None: there is none."""
    errors = {kind: float(mse(values, rows.truth, rows.weights)) for kind, values in left_out.items()}
    chosen = _choose_clearly_better(left_out, rows)
    level = float(mse(constant, rows.truth, rows.weights))
    return next((kind for kind in (chosen, _PLAIN, _FAINT) if errors.get(kind, level) < level), None)


def _choose_clearly_better(left_out: Mapping[str, np.ndarray], rows: MemberRows) -> str:
    """Least squares' own line, unless another map has a clearly smaller error."""
    chosen = _PLAIN
    for kind in (_LINE, _ISOTONIC):
        if kind not in left_out:
            continue
        gain, noise = compare_errors(left_out[chosen], left_out[kind], rows)
        if gain > noise:
            chosen = kind
    return chosen


def compare_errors(first: np.ndarray, second: np.ndarray, rows: MemberRows) -> tuple[float, float]:
    """Compare mean squared errors on the same clips.

    Args:
        first: Predictions, (n,).
        second: Predictions, (n,).
        rows: The truth, and weights and sources of the clips.
    Returns:
        The first's error less the second's, and its standard error over clips, or sources of clips.
    """
    return _average((first - rows.truth) ** 2 - (second - rows.truth) ** 2, rows)


def compare_ranks(first: np.ndarray, second: np.ndarray, rows: MemberRows) -> tuple[float, float]:
    """Compare Spearman's correlations on the same clips.

    Args:
        first: Predictions, (n,), not all equal.
        second: Predictions, (n,), not all equal.
        rows: The truth, not all equal, and weights and sources of the clips.
    Returns:
        The first's correlation less the second's, and its standard error over clips, or sources of clips, of the
        products of ranks.
    """
    shares = share_weights(rows.weights, len(rows.truth))
    ranks = [weighted_ranks(values, shares) for values in (first, second, rows.truth)]
    centred = [rank - shares @ rank for rank in ranks]
    z_first, z_second, z_truth = (rank / np.sqrt(shares @ rank**2) for rank in centred)
    return _average((z_first - z_second) * z_truth, rows)


def _average(values: np.ndarray, rows: MemberRows) -> tuple[float, float]:
    """Weighted mean, and its standard error; clips of one source err alike, and count as one sum."""
    shares = share_weights(rows.weights, len(values))
    mean = float(shares @ values)
    parts: np.ndarray = shares * (values - mean)
    if rows.groups is not None:
        parts = np.bincount(np.unique(rows.groups, return_inverse=True)[1], parts)
    return mean, float(np.sqrt(np.sum(parts**2)))
