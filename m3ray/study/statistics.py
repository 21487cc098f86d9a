"""Statistics of a study: the difference of two models with one interval over runs and clips, and Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

from m3ray.errors import ConfigError, ShapeError
from m3ray.study.influence import INFLUENCES, share_weights

ALPHA = 0.05
LEAST_CLIPS = 20
"""Clips below which no interval is given: their number cannot carry the approximation that it rests on."""

_LEAST_HALF = 10  # clips
_CORRECTED_CLIPS = 3000  # beyond, what is corrected is half a percent
_NOTHING = 1e-24  # rounding leaves a variance of nothing about this much of the squared metric
INTERACTION_TAKEN_OFF = 0.9
"""Share of the interaction's mean square that is taken off: all of it gives false stars where the runs vary little more
than it, none of it counts it twice."""


@dataclass(frozen=True)
class Difference:
    """Difference of a model's runs to the full model's, with one confidence interval over runs and clips.

    Args:
        estimate: Mean over the runs of the metric's difference, row less full; None where a run's metric is undefined.
        low: Lower end of the interval; None where there is none.
        high: Upper end of the interval; None where there is none.
        p: Two-sided probability of a difference as large without an effect; None where there is no interval.
        degrees_of_freedom: Of the interval, which is Student's; None where there is none.
        seed_variance: Part of the squared standard error that varies over runs; None where there is no interval.
        clip_variance: The rest of the squared standard error, over clips; None where there is no interval.
        reason: Why the interval, or the estimate, is undefined; empty where there are both.
        interaction_variance: What of the squared standard error is noise of single clips in single runs, so that it
            falls with more of either; by chance it may be more than the runs show. None where there is no interval.
    """

    estimate: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    degrees_of_freedom: float | None = None
    seed_variance: float | None = None
    clip_variance: float | None = None
    reason: str = ""
    interaction_variance: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval; no where there is none."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def reverse(self) -> Difference:
        """The difference the other way round, full less row."""
        estimate, low, high = (None if end is None else -end for end in (self.estimate, self.high, self.low))
        return replace(self, estimate=estimate, low=low, high=high)


@dataclass(frozen=True)
class MeasuredRuns:
    """A metric of each run of a model, and what each clip has to do with it.

    Args:
        values: The metric of each run, (R,); not a number where it is undefined.
        influence: Influence of each clip on it, (R, V), whose mean weighted by `shares` is 0.
        shares: Share of each clip in the metric, (V,), with sum 1.
        halves: The same runs on either half of the clips, for `_correct_squares`; empty where that has no part.
    """

    values: np.ndarray
    influence: np.ndarray
    shares: np.ndarray
    halves: tuple[MeasuredRuns, ...] = ()


@dataclass(frozen=True)
class MeanSquares:
    """Mean squares of a difference in the crossed design of R runs and V clips, each over R V.

    Runs and clips are crossed and random both (Cornfield and Tukey 1956; Owen 2007, The pigeonhole bootstrap): the
    variance of the mean is runs + clips - interaction, as the interaction lies in both. Most of it is taken off, never
    more than the runs show, so that the clips' own mean square is the least that the variance can be.

    Args:
        seeds: Of the runs' differences: what varies over runs, with R - 1 degrees of freedom.
        clips: Of the clips' mean influence over runs, with V - 1 degrees of freedom.
        interaction: Of what is left, with (R - 1)(V - 1) degrees of freedom.
        runs: Number of runs, R.
        number: Number of clips, V.
    """

    seeds: float
    clips: float
    interaction: float
    runs: int
    number: int

    @property
    def whole_runs(self) -> float:
        """Variance of runs that are better or worse as a whole."""
        return max(0.0, self.seeds - INTERACTION_TAKEN_OFF * self.interaction)

    @property
    def variance(self) -> float:
        """Squared standard error of the mean over runs and clips."""
        return self.clips + self.whole_runs

    @property
    def single_clips(self) -> float:
        """Variance of single clips in single runs."""
        return min(INTERACTION_TAKEN_OFF * self.interaction, self.clips)


def combine_degrees_of_freedom(whole_runs: float, rest: float, runs: float, clips: float) -> float:
    """Degrees of freedom of a squared standard error: their inverses, weighed by the parts' shares of it.

    Satterthwaite (1946) weighs by the squares of the shares. With few runs the shares are uncertain themselves, and
    where that of the runs comes out small by chance he promises too much: benchmarks/statistics.py shows by how much.

    Args:
        whole_runs: Part that is known from the runs alone.
        rest: Part that is known from the clips.
        runs: Number of runs, at least 2.
        clips: Number of clips, at least 2.
    Returns:
        Between `runs` - 1 and `clips` - 1; `clips` - 1 where nothing varies.
    """
    share = whole_runs / (whole_runs + rest) if whole_runs else 0.0
    return 1 / (share / (runs - 1) + (1 - share) / (clips - 1))


def difference(
    full: np.ndarray,
    row: np.ndarray,
    truth: np.ndarray,
    alpha: float = ALPHA,
    metric: str = "spearman",
    weights: np.ndarray | None = None,
) -> Difference:
    """Difference of a model to the full model in a metric, with one interval that counts runs and clips.

    Args:
        full: Predictions of the full model's runs, (R, V).
        row: Predictions of the model's runs with the same seeds, (R, V).
        truth: Scores, (V,).
        alpha: Share of intervals that miss the true difference.
        metric: `spearman` or `mse`.
        weights: Weight of each clip, (V,), at least 0; None: all alike.
    Returns:
        The difference; where it has no interval, the reason.
    Raises:
        ConfigError: If there is no such metric, or `alpha` is not between 0 and 1.
        ShapeError: If the arrays do not fit together, or a weight is negative or not finite.
    """
    full, row = np.asarray(full, float), np.asarray(row, float)
    if full.shape != row.shape:
        raise ShapeError(
            f"difference: full is {full.shape} and row {row.shape}; expected the same runs on the same clips, (R, V)"
        )
    return compare_runs(measure_runs(full, truth, metric, weights), measure_runs(row, truth, metric, weights), alpha)


def measure_runs(
    predictions: np.ndarray, truth: np.ndarray, metric: str = "spearman", weights: np.ndarray | None = None
) -> MeasuredRuns:
    """Measure the runs of a model, for its comparison with others.

    Args:
        predictions: Predictions of its runs, (R, V).
        truth: Scores, (V,).
        metric: `spearman` or `mse`.
        weights: Weight of each clip, (V,), at least 0; None: all alike.
    Returns:
        The metric of each run.
    Raises:
        ConfigError: If there is no such metric.
        ShapeError: If the arrays do not fit together, or a weight is negative or not finite.
    """
    if metric not in INFLUENCES:
        raise ConfigError(f"difference: metric {metric!r}, expected one of {', '.join(INFLUENCES)}")
    predictions, truth = np.asarray(predictions, float), np.asarray(truth, float)
    _check_shapes(predictions, truth, weights)
    weights = None if weights is None else np.asarray(weights, float)
    if weights is not None and not weights.all():
        # A clip of weight 0 is no clip: it would count among the degrees of freedom.
        counted = weights > 0
        predictions, truth, weights = predictions[:, counted], truth[counted], weights[counted]
    measured = _measure(predictions, truth, metric, weights)
    # A mean of errors is linear in the clips: nothing is to be corrected.
    if metric == "mse" or not 2 * _LEAST_HALF <= len(truth) <= _CORRECTED_CLIPS:
        return measured
    order = np.random.default_rng(0).permutation(len(truth))
    halves = [
        _measure(predictions[:, half], truth[half], metric, None if weights is None else weights[half])
        for half in (np.sort(order[::2]), np.sort(order[1::2]))
    ]
    return replace(measured, halves=tuple(halves))


def _measure(predictions: np.ndarray, truth: np.ndarray, metric: str, weights: np.ndarray | None) -> MeasuredRuns:
    shares = share_weights(len(truth), weights)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        return MeasuredRuns(*INFLUENCES[metric](predictions, truth, shares), shares)


def compare_runs(full: MeasuredRuns, row: MeasuredRuns, alpha: float = ALPHA) -> Difference:
    """Difference of measured runs, with one interval that counts runs and clips.

    Args:
        full: Runs of the full model.
        row: Runs of the model with the same seeds, measured on the same clips.
        alpha: Share of intervals that miss the true difference.
    Returns:
        The difference; where it has no interval, the reason.
    Raises:
        ConfigError: If `alpha` is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ConfigError(f"difference: alpha is {alpha}, expected a share between 0 and 1, such as 0.05")
    undefined = _explain_undefined(row.values, full.values)
    if undefined:
        return Difference(None, reason=undefined)
    differences = row.values - full.values
    estimate = float(differences.mean())
    reason = _explain_no_interval(len(differences), full.shares)
    if reason:
        return Difference(estimate, reason=reason)
    halves = [_mean_squares(*pair) for pair in zip(full.halves, row.halves, strict=True)]
    squares = _correct_squares(_mean_squares(full, row), halves)
    return _make_interval(estimate, squares, alpha, scale=float(max(full.influence.std(), row.influence.std())))


def _check_shapes(predictions: np.ndarray, truth: np.ndarray, weights: np.ndarray | None) -> None:
    if truth.ndim != 1 or predictions.ndim != 2 or predictions.shape[1] != len(truth) or not predictions.size:
        raise ShapeError(
            f"difference: predictions are {predictions.shape} and truth {truth.shape}; expected (R, V) and (V,): a row "
            "a run, a column a clip"
        )
    if not np.isfinite(truth).all():
        raise ShapeError("difference: a score is not a number; give the clips that have one")
    if weights is None:
        return
    values = np.asarray(weights, float)
    if values.shape != truth.shape or not np.isfinite(values).all() or values.min() < 0 or not values.any():
        raise ShapeError(
            f"difference: weights are {values.shape} for {len(truth)} clips; expected one a clip, finite, none below 0 "
            "and not all 0"
        )


def _explain_undefined(own: np.ndarray, base: np.ndarray) -> str:
    """Which runs lack the metric: they diverged, or predict one score for all clips."""
    counts = [
        f"{missing} of {len(values)} runs of the {name} are undefined (diverged or constant)"
        for name, values in (("row", own), ("full model", base))
        if (missing := int((~np.isfinite(values)).sum()))
    ]
    return "; ".join(counts)


def _explain_no_interval(runs: int, shares: np.ndarray) -> str:
    clips = int((shares > 0).sum())
    effective = 1 / (shares**2).sum()
    if clips < LEAST_CLIPS:
        return f"{clips} clips: no interval under {LEAST_CLIPS}"
    if effective < LEAST_CLIPS - 1e-6:  # of equal weights it is rounded
        return f"weights leave {effective:.0f} clips' worth: no interval under {LEAST_CLIPS}"
    return "one run: no interval" if runs < 2 else ""


def _mean_squares(full: MeasuredRuns, row: MeasuredRuns) -> MeanSquares:
    differences = row.values - full.values
    # A clip moves the weighted metric by its share; V times that is what it would be worth among equals.
    influence = (row.influence - full.influence) * full.shares * len(full.shares)
    runs, clips = influence.shape
    by_clip = influence.mean(axis=0)
    rest = influence - by_clip
    return MeanSquares(
        seeds=float(differences.var(ddof=1)) / runs,
        clips=float((by_clip**2).sum()) / (clips - 1) / clips,
        interaction=float((rest**2).sum()) / ((runs - 1) * (clips - 1)) / influence.size,
        runs=runs,
        number=clips,
    )


def _correct_squares(whole: MeanSquares, halves: Sequence[MeanSquares]) -> MeanSquares:
    """Mean squares without what the jackknife counts twice: pairs of clips that move a rank correlation together.

    Over V clips the variance is a / V + b / V^2, and the jackknife expects a / V + 2 b / V^2 (Efron and Stein 1981). On
    half of the clips it expects 2 a / V + 8 b / V^2, so 3 / 2 of the whole less 1 / 4 of the half is the variance.
    Models that are nearly alike differ by few ranks, so b is up to a sixth of the variance at 100 clips.
    """
    pairs = {
        name: np.array([getattr(whole, name), np.mean([getattr(half, name) for half in halves] or np.nan)])
        for name in ("clips", "interaction")
    }
    if not np.isfinite(list(pairs.values())).all():
        return whole
    clips, interaction = (max(0.5 * values[0], 1.5 * values[0] - 0.25 * values[1]) for values in pairs.values())
    return replace(whole, clips=float(clips), interaction=float(interaction))


def _make_interval(estimate: float, squares: MeanSquares, alpha: float, scale: float) -> Difference:
    variance, whole_runs, single_clips = squares.variance, squares.whole_runs, squares.single_clips
    if variance <= _NOTHING * scale**2:
        nothing = {"seed_variance": 0.0, "clip_variance": 0.0, "interaction_variance": 0.0}
        return Difference(estimate, **nothing, reason="nothing varies over runs or clips: no interval")
    df = combine_degrees_of_freedom(whole_runs, squares.clips, squares.runs, squares.number)
    error = float(np.sqrt(variance))
    margin = float(scipy.stats.t.ppf(1 - alpha / 2, df)) * error
    return Difference(
        estimate,
        low=estimate - margin,
        high=estimate + margin,
        p=float(2 * scipy.stats.t.sf(abs(estimate) / error, df)),
        degrees_of_freedom=df,
        seed_variance=min(squares.seeds, variance),
        clip_variance=variance - min(squares.seeds, variance),
        interaction_variance=single_clips,
    )


def correct_family(differences: Sequence[Difference]) -> np.ndarray:
    """Correct the probabilities of differences that are looked at together, as in a table.

    A row whose few runs agree by chance has a small standard error, and far in the tail, where a correction looks, such
    rows are most of the false ones. So a row's variance of whole runs counts as at least the mean of all rows.

    Args:
        differences: The differences, K; those without an interval do not count.
    Returns:
        Holm's probabilities, (K,), not a number where there is no interval.
    """
    whole = np.array([_whole_runs(d) for d in differences], float)
    known = np.isfinite(whole)
    if not known.any():
        return holm([d.p for d in differences])
    borrowed = np.maximum(0.0, whole[known].mean() - whole)
    return holm([d.p if b == 0 or np.isnan(b) else _widen(d, b) for d, b in zip(differences, borrowed, strict=True)])


def _whole_runs(found: Difference) -> float:
    """The part of a squared standard error that comes of runs that are better or worse as a whole; NaN: unknown."""
    if found.p is None or found.seed_variance is None:
        return np.nan
    return max(0.0, found.seed_variance - (found.interaction_variance or 0.0))


def _widen(found: Difference, variance: float) -> float:
    """Probability of a difference whose squared standard error is larger by `variance`."""
    parts = (found.estimate, found.seed_variance, found.clip_variance, found.p)
    estimate, seeds, clips, p = (np.nan if part is None else part for part in parts)
    error = np.sqrt(seeds + clips + variance)
    return max(p, float(2 * scipy.stats.t.sf(abs(estimate) / error, found.degrees_of_freedom)))


def holm(p: Sequence[float | None] | np.ndarray) -> np.ndarray:
    """Correct probabilities for how many there are (Holm 1979): the chance of any false one stays the level.

    Args:
        p: Probability of each difference, (K,); None or not a number where it is undefined, which does not count.
    Returns:
        Corrected probabilities, (K,), not a number where undefined.
    """
    values = np.array([np.nan if value is None else value for value in p], float)
    defined = np.flatnonzero(np.isfinite(values))
    order = defined[np.argsort(values[defined], kind="stable")]
    # The k-th smallest of m times m - k + 1, never below the one before it, at most 1.
    steps = values[order] * np.arange(len(order), 0, -1)
    values[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(order) else steps
    return values
