"""Reliability of memorability scores: how far viewers agree, and the correlation that a perfect model would have.

A score is the share p of n viewers who recognised a clip. Of its variance over clips a part is the viewers' chance: had
others been asked, other shares would have come out. What is left over the whole is the reliability; a model that knew
each clip's true share would correlate by its square root (Spearman 1904). Rank correlation has no such formula: its
ceiling is computed from the distribution of true shares that the counts imply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

from m3ray.model.metrics import spearman

FEWEST_CLIPS = 20  # fewer give no variance worth a name
SPLITS = 25  # halves of the viewers that are drawn, as of LaMem (Khosla et al. 2015) and Isola et al. (2011)

_GRID = 200  # true shares that are told apart
# Steps of expectation maximisation: more of them follow the chance of few clips, fewer miss the shape of many.
_CLIPS_A_STEP, _FEWEST_STEPS, _MOST_STEPS = 50, 5, 200
_MOST_CLIPS = 20_000  # of more, so many are drawn: bounds time and memory
_MOST_VIEWERS = 10**6  # more leave no chance that could be told
_RESAMPLES, _RESAMPLED_CLIPS = 40, 2000
_Z = 1.959964


@dataclass(frozen=True)
class Ceiling:
    """How reliable the scores of some clips are, and the highest correlation that a perfect model could have.

    Args:
        clips: Number of clips that this was computed on.
        left_out: Number of clips with a score that were left out: fewer than two viewers, or an unknown number of them.
        responses: Mean number of viewers of a clip, which counts as a million where it is more; None where no clip's is
            known.
        reliability: Share of the scores' variance that is the clips' and not the viewers' chance; None: undefined.
        pearson: Highest Pearson correlation; None: undefined.
        spearman: Highest Spearman correlation; None: undefined.
        low: Lower end of the 95 % confidence interval of `spearman` over clips; None: undefined.
        high: Upper end of that interval; None: undefined.
        split_half: Spearman correlation between the scores of two halves of the viewers, mean over splits.
        split_half_deviation: Its standard deviation over splits.
        full_length: `split_half` corrected to as many viewers as there were (Spearman and Brown); None: undefined.
        reason: Why something is undefined, or to be read with care; empty: nothing is.
    """

    clips: int
    left_out: int = 0
    responses: float | None = None
    reliability: float | None = None
    pearson: float | None = None
    spearman: float | None = None
    low: float | None = None
    high: float | None = None
    split_half: float | None = None
    split_half_deviation: float | None = None
    full_length: float | None = None
    reason: str = ""


def measure_ceiling(scores: np.ndarray, responses: np.ndarray | None, seed: int = 0) -> Ceiling:
    """Measure the reliability of scores that are shares of viewers, and what follows from it.

    Args:
        scores: Shares of viewers, in [0, 1], (N,); a clip that has none is no clip.
        responses: Number of viewers of each clip, (N,), not a number where it is unknown; None: nobody counted.
        seed: Seed of the halves, and of the clips drawn for the ceiling's interval.
    Returns:
        The reliability and the ceilings; undefined, and why, where the counts do not allow it.
    """
    start, (p,), (n,) = _select_counted(scores, [scores], [responses])
    start = replace(start, reason=start.reason or _explain_scores(p, p))
    if start.reason:
        return start
    start = _add_halves(start, split_half(p, n, seed))
    return _add_ceilings(start, p, p * (1 - p) / (n - 1), lambda _: _bootstrap_ceiling(p, n, seed))


def measure_corrected_ceiling(
    hit_rates: np.ndarray,
    responses: np.ndarray | None,
    false_alarm_rates: np.ndarray,
    false_alarm_responses: np.ndarray | None,
    seed: int = 0,
) -> Ceiling:
    """Measure the reliability of hit rates less false alarm rates, which are of other viewers.

    Args:
        hit_rates: Shares of the viewers who saw a clip again, (N,).
        responses: Number of those viewers, (N,), not a number where it is unknown; None: nobody counted.
        false_alarm_rates: Shares of the viewers who saw a clip first, (N,).
        false_alarm_responses: Number of those viewers, likewise.
        seed: Seed of the halves.
    Returns:
        The reliability and the ceilings; Spearman's is that of normally distributed scores. Undefined, and why, where
        the counts do not allow it.
    """
    scores = np.asarray(hit_rates, np.float64) - np.asarray(false_alarm_rates, np.float64)
    counts = [responses, false_alarm_responses]
    start, (p, f), (n, m) = _select_counted(scores, [hit_rates, false_alarm_rates], counts)
    start = replace(start, reason=start.reason or _explain_scores(p - f, p, f))
    if start.reason:
        return start
    rng = np.random.default_rng(seed)
    halves = [(_halve(p, n, rng), _halve(f, m, rng)) for _ in range(SPLITS)]
    rhos = [float(spearman(ours[0] - theirs[0], ours[1] - theirs[1])) for ours, theirs in halves]
    # The two chances are of other viewers, and add up.
    chance = p * (1 - p) / (n - 1) + f * (1 - f) / (m - 1)
    start = _add_halves(start, _mean_and_deviation(rhos))
    return _add_ceilings(start, p - f, chance, lambda pearson: _rank_normal(pearson, p - f, chance))


def _rank_normal(pearson: float, scores: np.ndarray, chance: np.ndarray) -> tuple[float, float, float]:
    # Of a bivariate normal distribution: rho_S = 6 / pi asin(r / 2)
    spearman, low, high = 6 / np.pi * np.arcsin(np.array([pearson, *_pearson_interval(scores, chance)]) / 2)
    return float(spearman), float(low), float(high)


def _select_counted(
    scores: np.ndarray, rates: Sequence[np.ndarray], counts: Sequence[np.ndarray | None]
) -> tuple[Ceiling, list[np.ndarray], list[np.ndarray]]:
    """Rates and numbers of viewers of the clips that have at least two of them behind each rate."""
    scores = np.asarray(scores, np.float64)
    known = [np.full(len(scores), np.nan) if c is None else np.round(np.asarray(c, np.float64)) for c in counts]
    scored = np.isfinite(scores)
    used = np.logical_and.reduce([scored, *(count >= 2 for count in known)])
    clips, left_out = int(used.sum()), int((scored & ~used).sum())
    reason = ""
    if not clips:
        reason = "the number of viewers behind each score is unknown (column responses), or 1"
    elif clips < FEWEST_CLIPS:
        reason = f"{clips} clips with known viewers are too few: at least {FEWEST_CLIPS} are needed"
    counted = [np.minimum(count[used], _MOST_VIEWERS) for count in known]
    start = Ceiling(clips, left_out, float(counted[0].mean()) if clips else None, reason=reason)
    return start, [np.asarray(rate, np.float64)[used] for rate in rates], counted


def _explain_scores(scores: np.ndarray, *shares: np.ndarray) -> str:
    """Why nothing can be said of some scores, which are made of shares; empty where something can."""
    for share in shares:
        if share.min() < 0 or share.max() > 1:
            return f"scores from {share.min():g} to {share.max():g} are no shares of viewers"
    return f"all scores are {scores[0]:g}" if np.ptp(scores) == 0 else ""


def _add_halves(start: Ceiling, halves: tuple[float, float]) -> Ceiling:
    half, deviation = halves
    return replace(
        start,
        split_half=_number(half),
        split_half_deviation=_number(deviation),
        full_length=_number(spearman_brown(half)),
    )


def _add_ceilings(
    start: Ceiling, scores: np.ndarray, chance: np.ndarray, find_spearman: Callable[[float], tuple[float, float, float]]
) -> Ceiling:
    """Add reliability and ceilings, from each clip's variance by the viewers' chance.

    `find_spearman` gives the Spearman ceiling and the ends of its interval from the Pearson ceiling.
    """
    reliability = float(1 - chance.mean() / scores.var(ddof=1))
    if reliability <= 0:
        return replace(start, reliability=reliability, reason=_NOTHING_LEFT)
    pearson = reliability**0.5
    ranks, low, high = find_spearman(pearson)
    return replace(start, reliability=reliability, pearson=pearson, spearman=ranks, low=low, high=high)


_NOTHING_LEFT = (
    "the scores vary no more than the viewers' chance alone makes them: nothing is left that a model could predict"
)


def estimate_reliability(scores: np.ndarray, responses: np.ndarray) -> float:
    """Estimate the share of the scores' variance that is the clips'.

    Args:
        scores: Shares of viewers, (N,).
        responses: Number of viewers of each clip, (N,), at least 2.
    Returns:
        At most 1; below 0 where the scores vary less than chance alone makes them; not a number where all are equal.
    """
    # (Var(p) - mean(p (1 - p) / (n - 1))) / Var(p); p (1 - p) / (n - 1) is the unbiased variance of a share of n
    variance = scores.var(ddof=1)
    chance = np.mean(scores * (1 - scores) / (responses - 1))
    return float(1 - chance / variance) if variance > 0 else float("nan")


def split_half(scores: np.ndarray, responses: np.ndarray, seed: int = 0, splits: int = SPLITS) -> tuple[float, float]:
    """Correlate the scores of one half of the viewers with those of the other, over random halves.

    Which viewer recognised which clip is not needed: of n viewers with h hits, a random half has a hypergeometric
    number of hits.

    Args:
        scores: Shares of viewers, (N,).
        responses: Number of viewers of each clip, (N,), at least 2.
        seed: Seed of the halves.
        splits: Number of times that halves are drawn.
    Returns:
        Mean and standard deviation of Spearman's correlation over the splits that have one; not a number without any.
    """
    rng = np.random.default_rng(seed)
    return _mean_and_deviation([float(spearman(*_halve(scores, responses, rng))) for _ in range(splits)])


def _halve(rates: np.ndarray, responses: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rates of a random half of the viewers, and of the others."""
    total = responses.astype(np.int64)
    hits, first = np.round(rates * total).astype(np.int64), total // 2
    own = rng.hypergeometric(hits, total - hits, first)
    return own / first, (hits - own) / (total - first)


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    defined = np.array(values)[np.isfinite(values)]
    mean = float(defined.mean()) if len(defined) else float("nan")
    return mean, float(defined.std(ddof=1)) if len(defined) > 1 else float("nan")


def spearman_brown(half: float) -> float:
    """Reliability of twice as many viewers as a half has.

    Args:
        half: Correlation between two halves.
    Returns:
        2 r / (1 + r); not a number where `half` is none, or -1.
    """
    return 2 * half / (1 + half) if half > -1 else float("nan")


def spearman_ceiling(scores: np.ndarray, responses: np.ndarray, seed: int = 0) -> float:
    """Spearman's correlation between the clips' true shares and their scores: that of a perfect model.

    The true shares' distribution is estimated from the counts, without a form that it must have (Laird 1978): by
    expectation maximisation on a grid, from the beta distribution of the same mean and variance. In skewed data the
    result lies below the square root of the reliability, as most clips are then alike and chance decides their ranks.

    Args:
        scores: Shares of viewers, (N,), which vary more than chance alone makes them.
        responses: Number of viewers of each clip, (N,), at least 2.
        seed: Seed of the draw of clips where they are more than 20,000.
    Returns:
        In [0, 1]; not a number where all scores are equal.
    """
    if np.ptp(scores) == 0:
        return float("nan")
    rows = np.random.default_rng(seed).permutation(len(scores))[:_MOST_CLIPS]
    scores, responses = scores[rows], responses[rows]
    hits, grid = np.round(scores * responses), _lay_grid(scores, responses)
    pairs, rows, numbers = np.unique(np.stack([hits, responses], 1), axis=0, return_inverse=True, return_counts=True)
    # h ln t + (n - h) ln(1 - t), of each distinct pair of counts and each true share
    logs = scipy.special.xlogy(pairs[:, :1], grid) + scipy.special.xlog1py(pairs[:, 1:] - pairs[:, :1], -grid)
    likelihood = np.exp(logs - logs.max(axis=1, keepdims=True))
    prior = _start_prior(scores, responses, grid)
    for _ in range(int(np.clip(len(scores) // _CLIPS_A_STEP, _FEWEST_STEPS, _MOST_STEPS))):
        before, whole = prior, likelihood @ prior
        prior = before * ((numbers / whole) @ likelihood) / len(scores)  # the posteriors' mean
    # Rank of a true share: what lies below it, and half of its own cell.
    ranks = prior.cumsum() - prior / 2
    spread = np.sqrt(prior @ ranks**2 - (prior @ ranks) ** 2)
    expected = (likelihood @ (before * ranks) / whole)[rows.ravel()]
    observed = scipy.stats.rankdata(scores)
    covariance = np.mean((observed - observed.mean()) * (expected - expected.mean()))
    return float(np.clip(covariance / (observed.std() * spread), 0, 1))


def _lay_grid(scores: np.ndarray, responses: np.ndarray) -> np.ndarray:
    """True shares that the scores may come from: within four standard deviations of the viewers' chance around them."""
    margin = 4 * np.sqrt(scores * (1 - scores) / responses).max()
    low, high = max(scores.min() - margin, 0), min(scores.max() + margin, 1)
    return low + (high - low) * (np.arange(_GRID) + 0.5) / _GRID


def _start_prior(scores: np.ndarray, responses: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Beta distribution of the scores' mean and of their variance without chance, on the grid."""
    mean, reliability = scores.mean(), max(estimate_reliability(scores, responses), 0.01)
    # Var = m (1 - m) / (a + b + 1)
    both = max(mean * (1 - mean) / (scores.var(ddof=1) * reliability) - 1, 0.1)
    density = scipy.stats.beta.pdf(grid, mean * both, (1 - mean) * both) + 1e-12
    return density / density.sum()


def _bootstrap_ceiling(scores: np.ndarray, responses: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Spearman's ceiling and its 95 % interval: normal, by the standard error over resampled clips.

    Of many clips fewer are drawn, and the standard error is scaled by the square root of the numbers.
    """
    ceiling, rng = spearman_ceiling(scores, responses, seed), np.random.default_rng(seed)
    count = min(len(scores), _RESAMPLED_CLIPS)
    draws = [rng.integers(0, len(scores), count) for _ in range(_RESAMPLES)]
    again = np.array([spearman_ceiling(scores[rows], responses[rows]) for rows in draws])
    used = min(len(scores), _MOST_CLIPS)
    error = again[np.isfinite(again)].std(ddof=1) * np.sqrt(count / used)
    return ceiling, float(max(ceiling - _Z * error, 0)), float(min(ceiling + _Z * error, 1))


def _pearson_interval(scores: np.ndarray, chance: np.ndarray) -> tuple[float, float]:
    """95 % interval of Pearson's ceiling, by the delta method over clips."""
    squares = (scores - scores.mean()) ** 2
    variance = squares.mean()
    # R = 1 - C / V; what a clip adds to it: -(c_i - C) / V + C (v_i - V) / V^2
    added = -(chance - chance.mean()) / variance + chance.mean() * (squares - variance) / variance**2
    reliability, margin = 1 - chance.mean() / variance, _Z * added.std(ddof=1) / np.sqrt(len(scores))
    low, high = np.sqrt(np.clip([reliability - margin, reliability + margin], 0, 1))
    return float(low), float(high)


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


@dataclass(frozen=True)
class ShareOfCeiling:
    """A correlation as a share of the highest that there could be.

    Args:
        share: The share, which chance may lift above 1; None where it is undefined.
        low: Lower end of its 95 % confidence interval; None: undefined.
        high: Upper end of it; None: undefined.
    """

    share: float | None
    low: float | None = None
    high: float | None = None


def share_of_ceiling(rho: float | None, low: float | None, high: float | None, ceiling: Ceiling) -> ShareOfCeiling:
    """Divide a rank correlation by its ceiling.

    The interval is that of a ratio of two estimates of which each has its own (Donner and Zou 2012), as of independent
    ones.

    Args:
        rho: Spearman's correlation of a model; None where it is undefined.
        low: Lower end of its 95 % confidence interval; None: there is none.
        high: Upper end of it; None: there is none.
        ceiling: Ceiling of the same clips.
    Returns:
        The share; without an interval where the ceiling's own reaches 0.
    """
    top = ceiling.spearman
    if rho is None or not np.isfinite(rho) or not top:
        return ShareOfCeiling(None)
    share = rho / top
    if low is None or high is None or not ceiling.low or ceiling.high is None:
        return ShareOfCeiling(share)
    below, above = min(ceiling.low, top), max(ceiling.high, top)
    if 2 * top <= above:
        return ShareOfCeiling(share)
    # A share below 0 is the lower, the lower the ceiling.
    lower = [_find_end(rho, low, top, end, -1) for end in (above, below)]
    upper = [_find_end(rho, high, top, end, 1) for end in (below, above)]
    return ShareOfCeiling(share, *(ends[0] if ends[0] >= 0 else ends[1] for ends in (lower, upper)))


def _find_end(rho: float, end: float, top: float, ceiling_end: float, sign: int) -> float:
    """Where (rho - x top)^2 = (rho - end)^2 + x^2 (top - ceiling_end)^2, on one side of rho / top."""
    both = ceiling_end * (2 * top - ceiling_end)
    root = np.sqrt(max((rho * top) ** 2 - end * both * (2 * rho - end), 0))
    return float((rho * top + sign * root) / both)
