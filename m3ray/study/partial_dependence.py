"""What if a feature were another number: partial dependence, and accumulated local effects, of any model.

Partial dependence (Friedman 2001) gives every clip the same number, however odd that is beside its other features.
Accumulated local effects (ALE; Apley and Zhu 2020) move each clip by one short step from where it is, and add up these
steps. The two part where features go together. Both say what the model does, not what causes memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

PARTIAL, ACCUMULATED = "partial dependence", "accumulated local effects"
QUANTILES = np.linspace(0.05, 0.95, 19)
"""Quantiles of a feature that a curve is computed at: beyond them there are few clips to tell by."""

# From scaled features, (n, F), to the prediction of each run, (R, n).
Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class FeatureCurve:
    """How a model's prediction changes with one feature.

    Args:
        values: The feature's numbers, ascending, (G,).
        effects: Change of the prediction against its mean over the clips, by run, (R, G).
    """

    values: np.ndarray
    effects: np.ndarray


def find_quantiles(values: np.ndarray) -> np.ndarray:
    """Quantiles of a feature, every twentieth from the 5th to the 95th percentile.

    Args:
        values: The feature of N clips, (N,).
    Returns:
        Numbers that clips have, ascending, each once, (G,); one where nearly all clips have the same.
    """
    return np.unique(np.quantile(values, QUANTILES, method="inverted_cdf"))


def partial_dependence(predict: Predict, rows: np.ndarray, column: int, values: np.ndarray) -> FeatureCurve:
    """Mean prediction where every clip has the same number of one feature.

    Args:
        predict: From features, (n, F), to predictions, (R, n).
        rows: Features of N clips, (N, F), which are not changed.
        column: Position of the feature.
        values: Numbers to give it, ascending, (G,).
    Returns:
        The curve, less its mean over the clips: the mean of `np.interp` at each clip's own number is 0.
    """
    changed, means = rows.copy(), []
    for value in values:
        changed[:, column] = value
        means.append(predict(changed).mean(axis=1))
    # pd(v) = mean_i f(v, x_i without the feature)
    return _centre(values, np.stack(means, axis=1), rows[:, column])


def accumulated_local_effects(predict: Predict, rows: np.ndarray, column: int, edges: np.ndarray) -> FeatureCurve:
    """Accumulated local effects of one feature (Apley and Zhu 2020, equations 15 and 16).

    Args:
        predict: From features, (n, F), to predictions, (R, n).
        rows: Features of N clips, (N, F), which are not changed; clips beyond the edges do not count.
        column: Position of the feature.
        edges: Edges of the intervals, ascending, (K + 1,), such as quantiles: an interval without a clip adds nothing.
    Returns:
        The curve at the edges, less its mean over the clips.
    """
    own = rows[:, column]
    inside = np.flatnonzero((own >= edges[0]) & (own <= edges[-1]))
    low, high = rows[inside], rows[inside]  # copies: the index is an array
    interval = np.clip(np.searchsorted(edges, own[inside], side="left") - 1, 0, max(len(edges) - 2, 0))
    if len(edges) < 2 or not len(inside):
        runs = predict(rows[:1]).shape[0]
        return FeatureCurve(edges, np.zeros((runs, len(edges))))
    low[:, column], high[:, column] = edges[interval], edges[interval + 1]
    # g(z_k) = sum_{j <= k} mean over the clips of interval j of f(z_j, .) - f(z_{j - 1}, .)
    steps = predict(high) - predict(low)
    counts = np.bincount(interval, minlength=len(edges) - 1)
    sums = np.stack([np.bincount(interval, step, len(edges) - 1) for step in steps])
    curve = np.cumsum(np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0), axis=1)
    return _centre(edges, np.pad(curve, ((0, 0), (1, 0))), own)


def _centre(values: np.ndarray, curve: np.ndarray, own: np.ndarray) -> FeatureCurve:
    """The curve less its mean over the clips; those beyond its ends are not counted."""
    inside = own[(own >= values[0]) & (own <= values[-1])]
    if not len(inside):
        return FeatureCurve(values, curve - curve.mean(axis=1, keepdims=True))
    means = np.array([np.interp(inside, values, run).mean() for run in curve])
    return FeatureCurve(values, curve - means[:, None])


@dataclass(frozen=True)
class NumberedFeatures:
    """The features that curves are made of.

    Args:
        names: Name of each.
        columns: Position of each among the columns that the model sees.
        mean: What was taken from each column when it was scaled, (F,).
        deviation: What each was divided by, (F,).
    """

    names: Sequence[str]
    columns: Sequence[int]
    mean: np.ndarray
    deviation: np.ndarray


def trace_features(
    predict: Predict, scaled: np.ndarray, features: NumberedFeatures, most: tuple[int, int] = (100, 1000)
) -> tuple[pd.DataFrame, list[str]]:
    """Compute the curves of features, in each one's own units.

    Args:
        predict: From scaled features, (n, F), to predictions, (R, n).
        scaled: Scaled features of N clips, (N, F).
        features: The features.
        most: Most clips of a partial dependence, which looks at each of them 19 times, and of accumulated local
            effects, which look twice; clips are then taken at even distances.
    Returns:
        `feature, kind, value, effect, spread, runs`, a row a number of each curve: mean and standard deviation over the
        runs, null where there is one run; and the features that do not vary from the 5th to the 95th percentile.
    """
    few, many = (scaled[_spread_rows(len(scaled), count)] for count in most)
    parts, level = [], []
    for name, column in zip(features.names, features.columns, strict=True):
        values = find_quantiles(scaled[:, column])
        if len(values) < 2:
            level.append(name)
            continue
        for kind, curve in (
            (PARTIAL, partial_dependence(predict, few, column, values)),
            (ACCUMULATED, accumulated_local_effects(predict, many, column, values)),
        ):
            own = curve.values * float(features.deviation[column]) + float(features.mean[column])
            parts.append(_make_frame(name, kind, own, curve.effects))
    frame = pd.concat(parts, ignore_index=True) if parts else _make_frame("", "", np.empty(0), np.empty((1, 0)))
    return frame, level


def _spread_rows(rows: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def _make_frame(name: str, kind: str, values: np.ndarray, effects: np.ndarray) -> pd.DataFrame:
    runs = len(effects)
    spread = effects.std(axis=0, ddof=1) if runs > 1 else np.full(len(values), np.nan)
    columns = {"feature": name, "kind": kind, "value": values, "effect": effects.mean(axis=0), "spread": spread}
    return pd.DataFrame({**columns, "runs": runs})
