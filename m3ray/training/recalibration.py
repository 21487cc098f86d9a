"""Maps from a model's outputs to scores, fitted on clips that the model did not see: a line, or an isotonic curve."""

from __future__ import annotations

import numpy as np

from m3ray.model.calibrated_error import are_distinct
from m3ray.model.mixture import Recalibration

LINE_SHARE = 0.05
"""Share of the line in an isotonic curve, whose level pieces would else give many clips one score."""

_MOST_KNOTS = 200


def fit_line(outputs: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> Recalibration:
    """Fit the least-squares line.

    Args:
        outputs: Outputs for clips that the model did not see, (n,).
        truth: True scores, (n,).
        weights: Weight of each clip, (n,); None: all equal.
    Returns:
        The line; level at the mean score where it would fall, or all outputs are one.
    """
    shares = share_weights(weights, len(truth))
    mean, centred = truth @ shares, outputs - outputs @ shares
    variance = centred**2 @ shares
    slope = (centred * truth) @ shares / variance if are_distinct(outputs) else 0.0
    if not slope > 0:
        return Recalibration(0.0, float(mean))
    return Recalibration(float(slope), float(mean - slope * (outputs @ shares)))


def fit_isotonic(outputs: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> Recalibration:
    """Fit the rising curve of least squares, with some of the line in it so that it never is level.

    Args:
        outputs: Outputs for clips that the model did not see, (n,).
        truth: True scores, (n,).
        weights: Weight of each clip, (n,); None: all equal.
    Returns:
        The curve; the line alone where that does not rise.
    """
    from sklearn.isotonic import IsotonicRegression  # takes a second to import

    line = fit_line(outputs, truth, weights)
    if line.is_constant:
        return line
    fitted = IsotonicRegression(out_of_bounds="clip").fit(outputs, truth, sample_weight=weights)
    knots, values = _thin(np.asarray(fitted.X_thresholds_, np.float64), np.asarray(fitted.y_thresholds_, np.float64))
    return Recalibration(line.slope, line.intercept, knots, values, LINE_SHARE)


def _thin(knots: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most so many knots, evenly drawn: of many thousand clips nearly each one is a knot."""
    if len(knots) <= _MOST_KNOTS:
        return knots, values
    kept = np.unique(np.linspace(0, len(knots) - 1, _MOST_KNOTS).round().astype(int))
    return knots[kept], values[kept]


def share_weights(weights: np.ndarray | None, clips: int) -> np.ndarray:
    """Make weights that sum to 1.

    Args:
        weights: Weight of each clip, (n,), not negative; None: all equal.
        clips: Number of clips, n.
    Returns:
        Weights, (n,), float64; equal ones where all are 0.
    """
    if weights is None or not np.sum(weights) > 0:
        return np.full(clips, 1 / max(clips, 1))
    return np.asarray(weights, np.float64) / np.sum(weights)
