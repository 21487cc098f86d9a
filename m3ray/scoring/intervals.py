"""90 % intervals around a bundle's scores, as wide as errors are where a clip is predicted (conformal prediction).

The plain rule (Vovk et al. 2005) gives each clip the same half width: that covers 90 % of all clips, but too few where
errors are large and too many where they are small. Here errors are first measured in units of what is usual at that
prediction, below and above it apart, as errors are skewed; the conformal quantile is taken of those (Lei et al. 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

COVERAGE = 0.9
FEWEST = 30  # with fewer clips nothing of a shape can be told: the plain rule
_FOLDS = 10
_KNOTS = 41
_KERNEL = 0.1  # width of the kernel, as a share of the clips
_SHRINK = 2  # so many clips' weight draws each local number towards that of all clips
_TINY = 1e-9  # in units of all clips' errors
_NEAREST = (20, 0.1)  # clips that a local quantile is taken of: at least so many, and this share


@dataclass(frozen=True)
class IntervalRule:
    """Where an interval ends, seen from the score: straight lines between knots, level beyond the outer ones.

    Args:
        knots: Scores, ascending, (K,), K >= 1.
        low: Lower end less the score at each knot, (K,).
        high: Upper end less the score at each knot, (K,).
    """

    knots: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __call__(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Intervals of clips.

        Args:
            scores: Score of each clip, (N,).
        Returns:
            Lower and upper ends, (N,) each; they may lie beyond what scores can be, infinitely far where the rule was
            fitted on too few clips.
        """
        scores = np.asarray(scores, np.float64)
        low, high = (scores + np.interp(scores, self.knots, ends) for ends in (self.low, self.high))
        return low, high


def fit_plain_intervals(errors: np.ndarray, coverage: float = COVERAGE) -> IntervalRule:
    """The plain rule of split-conformal prediction: one half width for all clips.

    Args:
        errors: Errors, of any sign, on clips that trained nothing, (n,).
        coverage: Share of new clips that the interval is to cover.
    Returns:
        The rule; of infinite width where there are too few errors.
    """
    half = conformal_quantile(np.abs(np.asarray(errors, np.float64)), coverage)
    return IntervalRule(np.zeros(1), np.array([-half]), np.array([half]))


def conformal_quantile(values: np.ndarray, coverage: float = COVERAGE) -> float:
    """The ceil((n + 1) coverage)-th smallest value: a new one is no larger with that probability.

    Args:
        values: Nonconformities of clips that trained nothing, (n,).
        coverage: The probability.
    Returns:
        The value; infinite where n is too small (fewer than 9 for 90 %).
    """
    # Rounded, as (9 + 1) x 0.9 must not become 10 by the last bit of a product.
    rank = math.ceil(round((len(values) + 1) * coverage, 9))
    return float(np.partition(values, rank - 1)[rank - 1]) if rank <= len(values) else math.inf


def fit_intervals(scores: np.ndarray, truth: np.ndarray, coverage: float = COVERAGE, seed: int = 0) -> IntervalRule:
    """Fit intervals that adapt to the score.

    The shape of errors is fitted on some of the clips, and the conformal quantile is that of the others: 90 % of all
    new clips are covered whatever the distribution of errors, as long as they are drawn as these were.

    Args:
        scores: Scores of clips that trained nothing, (n,).
        truth: Their true scores, (n,).
        coverage: Share of new clips that the interval is to cover.
        seed: Seed of the draw of those clips.
    Returns:
        The rule; the plain one where n is under 30 or all scores are equal.
    """
    scores = np.asarray(scores, np.float64)
    errors = np.asarray(truth, np.float64) - scores
    if len(scores) < FEWEST or np.ptp(scores) == 0 or np.ptp(errors) == 0:
        return fit_plain_intervals(errors, coverage)
    errors, unit = _scale(errors)
    drawn = np.random.default_rng(seed).permutation(len(scores))
    for_quantile, for_shape = np.split(drawn, [_count_for_quantile(len(scores), coverage)])
    shape = fit_shape(scores[for_shape], errors[for_shape], coverage)
    factor = conformal_quantile(shape.nonconformity(scores[for_quantile], errors[for_quantile]), coverage)
    low, high = shape.centre - factor * shape.below, shape.centre + factor * shape.above
    return IntervalRule(shape.knots, unit * low, unit * high)


def _scale(errors: np.ndarray) -> tuple[np.ndarray, float]:
    """Errors in units of their root mean square, and the unit; by way of the largest, whose square may be no number."""
    largest = float(np.abs(errors).max())
    unit = largest * float(np.sqrt(np.mean((errors / largest) ** 2)))
    return errors / (unit or largest), unit or largest


def _count_for_quantile(clips: int, coverage: float) -> int:
    """A third of the clips; of few, as many as give a rank that is the coverage exactly: 9, then 19 for 90 %."""
    step = round(1 / (1 - coverage))
    return step - 1 if clips < 5 * step else max(2 * step - 1, clips // 3)


def cross_validate_intervals(
    scores: np.ndarray, truth: np.ndarray, fit: Callable[[np.ndarray, np.ndarray], IntervalRule] = fit_intervals
) -> np.ndarray:
    """Tell which clips lie in the interval that the other nine tenths of the clips give.

    Args:
        scores: Scores of clips that trained nothing, (n,).
        truth: Their true scores, (n,).
        fit: Function from scores and truth to the rule.
    Returns:
        Whether each clip's true score is covered, bool, (n,).
    """
    folds, covered = np.random.default_rng(1).permutation(len(scores)) % _FOLDS, np.zeros(len(scores), bool)
    for fold in range(_FOLDS):
        inside = folds == fold
        low, high = fit(scores[~inside], truth[~inside])(scores[inside])
        covered[inside] = (low <= truth[inside]) & (truth[inside] <= high)
    return covered


@dataclass(frozen=True)
class ErrorShape:
    """What errors are usual at a score.

    Args:
        knots: Scores, ascending, (K,).
        centre: Middle of the errors at each knot, (K,).
        below: Their spread below it, (K,), above 0.
        above: Their spread above it, (K,), above 0.
    """

    knots: np.ndarray
    centre: np.ndarray
    below: np.ndarray
    above: np.ndarray

    def nonconformity(self, scores: np.ndarray, errors: np.ndarray) -> np.ndarray:
        """How unusual each error is, (n,): its distance from the middle over the spread on its side."""
        centre, below, above = (np.interp(scores, self.knots, y) for y in (self.centre, self.below, self.above))
        distance = errors - centre
        return np.abs(distance) / np.where(distance > 0, above, below)


def fit_shape(scores: np.ndarray, errors: np.ndarray, coverage: float = COVERAGE) -> ErrorShape:
    """Fit what errors are usual at a score.

    Args:
        scores: Scores of clips that trained nothing, (n,), not all equal, n >= 20.
        errors: Truth less score of each, (n,), in units of about their root mean square.
        coverage: Share of the clips that lie within the spread.
    Returns:
        The shape.
    """
    order = np.argsort(scores, kind="stable")
    scores, errors = scores[order], errors[order]
    ranks = (np.arange(len(scores)) + 0.5) / len(scores)
    at = np.linspace(0, 1, _KNOTS)
    knots = np.quantile(scores, at)
    weights = np.exp(-0.5 * ((ranks - at[:, None]) / _KERNEL) ** 2)
    centre = _fit_centre(ranks, errors, at, weights)
    distance = errors - np.interp(scores, knots, centre)
    trend = _fit_trend(scores, distance)
    below, above = (_fit_spread(np.maximum(side, 0) / trend(scores), weights) for side in (-distance, distance))
    shape = ErrorShape(knots, centre, below * trend(knots), above * trend(knots))
    unusual = _fit_local_quantile(shape.nonconformity(scores, errors), coverage)
    return _merge_equal_knots(ErrorShape(knots, centre, shape.below * unusual, shape.above * unusual))


def _fit_centre(ranks: np.ndarray, errors: np.ndarray, at: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Local linear regression of the error on the rank, drawn towards the mean error of all."""
    total, effective = weights.sum(axis=1), _count_effective(weights)
    x = ranks - at[:, None]
    rest = errors - errors.mean()
    mean_x, mean_y = (weights * x).sum(axis=1) / total, (weights @ rest) / total
    varying = x - mean_x[:, None]
    slope = (weights * varying * rest).sum(axis=1) / (weights * varying**2).sum(axis=1)
    kept = effective / (effective + _SHRINK)
    return errors.mean() + kept * (mean_y - kept * slope * mean_x)


def _fit_trend(scores: np.ndarray, distance: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """How spread grows or falls with the score: a line through the logarithms, level for few clips."""
    middle, width = scores.mean(), scores.std() or 1.0  # all equal in this part: a level trend
    z = (scores - middle) / width
    size = np.log(np.abs(distance) + 0.1 * np.abs(distance).mean() + _TINY)
    slope = (z @ (size - size.mean())) / (len(z) + 2 * _SHRINK)
    return lambda values: np.exp(slope * np.clip((values - middle) / width, -4, 4))


def _fit_spread(side: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Local root mean square of the distances on one side, drawn towards that of all clips."""
    overall = np.sqrt(np.mean(side**2)) + _TINY
    local = np.sqrt((weights @ side**2) / weights.sum(axis=1)) + _TINY
    return _draw_towards(local, overall, _count_effective(weights))


def _fit_local_quantile(nonconformity: np.ndarray, coverage: float) -> np.ndarray:
    """Quantile of the nonconformity of the clips nearest to each knot in rank, smoothed over five knots."""
    n = len(nonconformity)
    count = min(n, max(_NEAREST[0], round(_NEAREST[1] * n)))
    starts = np.clip(np.round(np.linspace(0, n, _KNOTS) - count / 2), 0, n - count).astype(int)
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(nonconformity, count)[starts], axis=1)
    place = min((count + 1) * coverage - 1, count - 1)
    down = int(place)
    local = windows[:, down] + (place - down) * (windows[:, min(down + 1, count - 1)] - windows[:, down])
    overall = np.quantile(nonconformity, min(1.0, coverage * (n + 1) / n))
    drawn = _draw_towards(local + _TINY, float(overall) + _TINY, np.full(_KNOTS, float(count)))
    return np.convolve(np.pad(drawn, 2, mode="edge"), np.full(5, 0.2), "valid")


def _draw_towards(local: np.ndarray, overall: float, clips: np.ndarray) -> np.ndarray:
    share = clips / (clips + _SHRINK)
    return np.exp(share * np.log(local) + (1 - share) * np.log(overall))


def _count_effective(weights: np.ndarray) -> np.ndarray:
    """Number of equally weighted clips that would tell as much (Kish)."""
    return weights.sum(axis=1) ** 2 / (weights**2).sum(axis=1)


def _merge_equal_knots(shape: ErrorShape) -> ErrorShape:
    """The shape with each score once: where many clips share a score, the mean of its knots."""
    knots, inverse = np.unique(shape.knots, return_inverse=True)
    counts = np.bincount(inverse)
    means = (np.bincount(inverse, y) / counts for y in (shape.centre, shape.below, shape.above))
    return ErrorShape(knots, *means)
