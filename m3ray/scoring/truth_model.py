"""Where the true score of a clip lies, seen from its predicted one: a distribution, fitted on the calibration clips.

truth = score + centre(score) + noise x width(score, spread) x U: `centre` and `width` are the middle and the spread of
errors where a clip is predicted, wider below than above where errors are skewed (`fit_shape`); U is drawn from the
errors in those units, whatever their distribution; `noise` is above 1 as far as errors of clips that were not fitted on
are larger, which cross-validation tells. Errors of two clips are taken as independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from m3ray.scoring.intervals import ErrorShape, fit_shape

FEWEST = 9
"""Calibration clips; with fewer no interval has 90 %, and no probability is given."""
_KNOTS = 9
_SHRINK = 4  # so many clips' weight draws lines towards level ones
_FEWEST_FOR_SPREAD = 100
_POINTS = 101  # that stand for a distribution
_FOLDS = 5
_PAIRS = 1_500
_NOISES = np.exp(np.linspace(-0.15, 0.65, 17))
_COARSE = slice(2, None, 4)  # of the points, which tells the noise as well
_PRIOR = 0.2  # standard deviation of the logarithm of the noise about what a normal distribution would need
_BLOCK = 5_000  # pairs compared at once
_TINY = 1e-12


@dataclass(frozen=True)
class TruthModel:
    """The distribution of true scores around predicted ones.

    Args:
        shape: Middle and spread of errors at a score.
        quantiles: Errors in units of that spread, ascending, (K,).
        noise: By how much errors of other clips are larger.
        clips: Number of calibration clips behind it.
        bounds: Lowest and highest value that the truth can have.
        spread_slope: By how much the logarithm of an error grows with that of the runs' spread.
        usual_spread: Middle of the logarithm of the spread over the calibration clips.
    """

    shape: ErrorShape
    quantiles: np.ndarray
    noise: float
    clips: int
    bounds: tuple[float, float] = (-np.inf, np.inf)
    spread_slope: float = 0.0
    usual_spread: float = 0.0

    def draw(self, scores: np.ndarray, spread: np.ndarray | None = None) -> np.ndarray:
        """Give equally likely true scores of clips.

        Args:
            scores: Predicted scores, (N,).
            spread: Standard deviation of each over the runs, (N,); None, or not finite: unknown.
        Returns:
            Values, ascending, (N, K), within the bounds; not numbers where the score is not finite.
        """
        scores = np.asarray(scores, np.float64)
        scores = np.where(np.isfinite(scores), scores, np.nan)
        centre, below, above = (
            np.interp(scores, self.shape.knots, y) for y in (self.shape.centre, self.shape.below, self.shape.above)
        )
        factor = self.noise * self._widen(len(scores), spread)
        width = np.where(self.quantiles < 0, (below * factor)[:, None], (above * factor)[:, None])
        return np.clip((scores + centre)[:, None] + width * self.quantiles, *self.bounds)

    def _widen(self, count: int, spread: np.ndarray | None) -> np.ndarray:
        if spread is None or not self.spread_slope:
            return np.ones(count)
        known = np.isfinite(spread)
        difference = np.log(np.maximum(np.where(known, spread, 1), _TINY)) - self.usual_spread
        return np.where(known, np.exp(self.spread_slope * np.clip(difference, -2, 2)), 1)


def fit_truth_model(
    scores: np.ndarray,
    truth: np.ndarray,
    spread: np.ndarray | None = None,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> TruthModel | None:
    """Fit the distribution of true scores.

    How much of a shape the errors have, and how much larger those of other clips are, is what gives the order of pairs
    of clips that were left out the highest likelihood.

    Args:
        scores: Predicted scores of the calibration clips, (n,).
        truth: Their true scores, (n,).
        spread: Standard deviation of each prediction over the runs, (n,); None, or not finite: unknown.
        bounds: Lowest and highest value that the truth can have.
    Returns:
        The model, of the clips whose score and truth are finite; None where `explain_no_model` has a reason.
    """
    if explain_no_model(scores, truth) is not None:
        return None
    clips = _take_known(scores, truth, spread)
    scores = clips.scores
    usable = [fit for fit in _SHAPES if len(scores) >= fit.fewest and (fit.fewest == 0 or np.ptp(scores) > 0)]
    folds = _cut(clips)
    tried = [_try_noises(clips, fit, folds, bounds) for fit in usable]
    best = int(np.argmax([values.max() - fit.cost for fit, values in zip(usable, tried, strict=True)]))
    noise = float(_NOISES[int(np.argmax(tried[best]))])
    return replace(_fit(clips, usable[best]), bounds=bounds, noise=noise)


def explain_no_model(scores: np.ndarray, truth: np.ndarray) -> str | None:
    """Say why nothing can be told of where true scores lie.

    Args:
        scores: Predicted scores of the calibration clips, (n,).
        truth: Their true scores, (n,).
    Returns:
        The reason, for a line of words; None: there is a model of them.
    """
    clips = _take_known(scores, truth, None)
    count = len(clips.scores)
    if count < FEWEST:
        return f"{count} clips to calibrate them on, {FEWEST} are the fewest"
    if np.ptp(clips.truth) == 0:
        return f"the true scores of all {count} clips to calibrate them on are alike"
    if np.ptp(clips.truth - clips.scores) == 0:
        return f"all {count} clips to calibrate them on were predicted without an error"
    return None


def compare_pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Probability that the first of two independent values is the larger one; equal values count half.

    Args:
        first: Equally likely values of each pair's first, ascending, (M, K).
        second: Those of its second, (M, K).
    Returns:
        (M,), float64; not a number where a value is none.
    """
    found = np.empty(len(first))
    for start in range(0, len(first), _BLOCK):
        part = slice(start, start + _BLOCK)
        a, b = first[part], second[part]
        # Of equal values the first ones in order count as smaller: once those of a, once those of b.
        found[part] = 0.5 * (_share_above(a, b) + 1 - _share_above(b, a))
    unknown = np.isnan(first).any(axis=1) | np.isnan(second).any(axis=1)
    return np.where(unknown, np.nan, found)


def _share_above(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Share of pairs of values of which the first is larger, (M,), by their ranks (Mann and Whitney 1947)."""
    count, others = first.shape[1], second.shape[1]
    order = np.argsort(np.concatenate([first, second], axis=1), axis=1, kind="stable")
    ranks = np.nonzero(order < count)[1].reshape(len(first), count)
    return (ranks.sum(axis=1) - count * (count - 1) / 2) / (count * others)


@dataclass(frozen=True)
class _Clips:
    """Calibration clips: scores, truth and perhaps spread, (n,) each."""

    scores: np.ndarray
    truth: np.ndarray
    spread: np.ndarray | None

    def take(self, rows: np.ndarray) -> _Clips:
        """Some of the clips."""
        return _Clips(self.scores[rows], self.truth[rows], None if self.spread is None else self.spread[rows])


def _take_known(scores: np.ndarray, truth: np.ndarray, spread: np.ndarray | None) -> _Clips:
    """The clips whose score and truth are finite."""
    runs = None if spread is None else np.asarray(spread, np.float64)
    clips = _Clips(np.asarray(scores, np.float64), np.asarray(truth, np.float64), runs)
    return clips.take(np.flatnonzero(np.isfinite(clips.scores) & np.isfinite(clips.truth)))


@dataclass(frozen=True)
class _ShapeFit:
    """A way to fit a shape: to scores and errors in about their own unit, the fewest clips, what it must gain."""

    fit: Callable[[np.ndarray, np.ndarray], ErrorShape]
    fewest: int
    cost: float


def _fit_level(scores: np.ndarray, errors: np.ndarray) -> ErrorShape:
    """The same errors everywhere."""
    width = np.array([max(float(errors.std()), _TINY)])
    return ErrorShape(np.array([scores.mean()]), np.array([errors.mean()]), width, width)


def _fit_slanted(scores: np.ndarray, errors: np.ndarray) -> ErrorShape:
    """Errors whose middle, and the logarithm of whose size, lie on lines in the score, drawn towards level ones."""
    middle, width = scores.mean(), scores.std()
    z, knots = (scores - middle) / width, np.linspace(scores.min(), scores.max(), _KNOTS)
    slope = z @ errors / (len(z) + _SHRINK)
    rest = errors - errors.mean() - slope * z
    size = np.log(np.abs(rest) + 0.1 * np.abs(rest).mean() + _TINY)
    growth = z @ (size - size.mean()) / (len(z) + _SHRINK)
    at = np.clip((knots - middle) / width, -4, 4)
    spread = max(float((rest / np.exp(growth * np.clip(z, -4, 4))).std()), _TINY) * np.exp(growth * at)
    return ErrorShape(knots, errors.mean() + slope * at, spread, spread)


_SHAPES = (_ShapeFit(_fit_level, 0, 0.0), _ShapeFit(_fit_slanted, 20, 1.0), _ShapeFit(fit_shape, 60, 3.0))


def _fit(clips: _Clips, how: _ShapeFit) -> TruthModel:
    """The model as the clips have it, without what others' errors are larger."""
    scores, errors = clips.scores, clips.truth - clips.scores
    unit = float(np.sqrt(np.mean(errors**2))) or 1.0
    found = how.fit(scores, errors / unit)
    shape = ErrorShape(found.knots, unit * found.centre, unit * found.below, unit * found.above)
    shape = _make_rising(shape)
    slope, usual = _fit_spread_slope(shape, scores, errors, clips.spread)
    model = TruthModel(shape, np.zeros(1), 1.0, len(scores), spread_slope=slope, usual_spread=usual)
    own = _measure_in_units(shape, scores, errors) / model._widen(len(scores), clips.spread)
    at = (np.arange(_POINTS) + 0.5) / _POINTS
    return replace(model, quantiles=np.quantile(own, at, method="hazen"))


def _measure_in_units(shape: ErrorShape, scores: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Errors about their middle, in units of the spread on their side."""
    centre, below, above = (np.interp(scores, shape.knots, y) for y in (shape.centre, shape.below, shape.above))
    distance = errors - centre
    return distance / np.where(distance < 0, below, above)


def _make_rising(shape: ErrorShape) -> ErrorShape:
    """The shape with expected truths that never fall as the score rises (pool adjacent violators)."""
    means, weights = list[float](), list[int]()
    for value in shape.knots + shape.centre:
        means.append(float(value))
        weights.append(1)
        while len(means) > 1 and means[-2] > means[-1]:
            total = weights[-2] + weights[-1]
            means[-2:] = [(means[-2] * weights[-2] + means[-1] * weights[-1]) / total]
            weights[-2:] = [total]
    return replace(shape, centre=np.repeat(means, weights) - shape.knots)


def _fit_spread_slope(
    shape: ErrorShape, scores: np.ndarray, errors: np.ndarray, spread: np.ndarray | None
) -> tuple[float, float]:
    """Slope of the logarithm of errors in that of the spread, drawn towards 0, and the middle of the latter."""
    if spread is None or np.any(spread <= 0):
        return 0.0, 0.0
    known = np.isfinite(spread)
    if known.sum() < _FEWEST_FOR_SPREAD:
        return 0.0, 0.0
    x = np.log(spread[known])
    own = np.abs(_measure_in_units(shape, scores, errors))[known]
    y = np.log(own + 0.1 * own.mean() + _TINY)
    z = x - x.mean()
    # As many clips' weight again as 50 of the usual variance draws the slope to 0.
    slope = float(z @ (y - y.mean()) / (z @ z + 50 * max(z.var(), _TINY)))
    return float(np.clip(slope, 0, 1)), float(x.mean())


def _cut(clips: _Clips) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Fifths of the clips: rows of the others, and of the first and second clip of pairs within."""
    rng = np.random.default_rng(0)
    folds, cut = rng.permutation(len(clips.scores)) % _FOLDS, []
    for fold in range(_FOLDS):
        out = np.flatnonzero(folds == fold)
        a, b = np.triu_indices(len(out), 1)
        drawn = rng.permutation(len(a))[: _PAIRS // _FOLDS]
        cut.append((np.flatnonzero(folds != fold), out[a[drawn]], out[b[drawn]]))
    return cut


def _try_noises(
    clips: _Clips,
    how: _ShapeFit,
    folds: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    bounds: tuple[float, float],
) -> np.ndarray:
    """Logarithm of the likelihood of the order of left-out pairs with each noise, and of the noise itself."""
    total, count = np.zeros(len(_NOISES)), 0
    for rest, *pair in folds:
        model = _fit(clips.take(rest), how)
        model = replace(model, bounds=bounds, quantiles=model.quantiles[_COARSE])
        first, second = (clips.take(rows) for rows in pair)
        won = 0.5 + 0.5 * np.sign(first.truth - second.truth)
        for k, noise in enumerate(_NOISES):
            noisy = replace(model, noise=float(noise))
            chance = compare_pairs(*(noisy.draw(part.scores, part.spread) for part in (first, second)))
            safe = np.clip(chance, 1e-4, 1 - 1e-4)
            total[k] += (won * np.log(safe) + (1 - won) * np.log(1 - safe)).sum()
        count += len(won)
    # All pairs of n clips tell as much as n / 2 independent ones. A normal error of unknown size needs 1 + 1 / n.
    prior = -0.5 * ((np.log(_NOISES) - np.log(1 + 1 / len(clips.scores))) / _PRIOR) ** 2
    return total / max(1, count) * len(clips.scores) / 2 + prior
