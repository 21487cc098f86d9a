"""Reliability of memorability scores: how far viewers agree, and the correlation that no model can exceed.

A score is the share p of n viewers who recognised a clip. Of its variance over clips a part is the viewers' chance: had
others been asked, other shares would have come out. What is left over the whole is the reliability; a model that knew
each clip's true share would correlate by its square root (Spearman 1904). Rank correlation has no such formula: its
ceiling is computed from the distribution of true shares that the counts imply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import xlog1py, xlogy
from scipy.stats import beta, rankdata

from m3ray.model.metrics import spearman

FEWEST_CLIPS = 20  # fewer give no variance worth a name
SPLITS = 25  # halves of the viewers that are drawn, as of LaMem (Khosla et al. 2015) and Isola et al. (2011)

_GRID = 200  # true shares that are told apart
# Steps of expectation maximisation: more of them follow the chance of few clips, fewer miss the shape of many.
_CLIPS_A_STEP, _FEWEST_STEPS, _MOST_STEPS = 50, 5, 200


@dataclass(frozen=True)
class Ceiling:
    """How reliable the scores of some clips are, and the highest correlation that a perfect model could have.

    Args:
        clips: Number of clips that this was computed on.
        left_out: Number of clips with a score that were left out: fewer than two viewers, or an unknown number of them.
        responses: Mean number of viewers of a clip; None where no clip's is known.
        reliability: Share of the scores' variance that is the clips' and not the viewers' chance; None: undefined.
        pearson: Highest Pearson correlation; None: undefined.
        spearman: Highest Spearman correlation; None: undefined.
        low: Lower end of the 95 % confidence interval of `spearman` over clips, which takes its ratio to `pearson` as
            known; None: undefined.
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
        seed: Seed of the halves.
    Returns:
        The reliability and the ceilings; undefined, and why, where the counts do not allow it.
    """
    start, (p,), (n,) = _select_counted(scores, [scores], [responses])
    start = replace(start, reason=start.reason or _explain_scores(p, shares=True))
    if start.reason:
        return start
    start = _add_halves(start, split_half(p, n, seed))
    return _add_ceilings(start, p, p * (1 - p) / (n - 1), lambda _: spearman_ceiling(p, n))


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
    start = replace(start, reason=start.reason or _explain_scores(p - f, shares=False))
    if start.reason:
        return start
    rng = np.random.default_rng(seed)
    halves = [(_halve(p, n, rng), _halve(f, m, rng)) for _ in range(SPLITS)]
    rhos = [float(spearman(ours[0] - theirs[0], ours[1] - theirs[1])) for ours, theirs in halves]
    # The two chances are of other viewers, and add up.
    chance = p * (1 - p) / (n - 1) + f * (1 - f) / (m - 1)
    # Of a bivariate normal distribution: rho_S = 6 / pi asin(r / 2)
    return _add_ceilings(_add_halves(start, _mean_and_deviation(rhos)), p - f, chance, _rank_normal)


def _rank_normal(pearson: float) -> float:
    return float(6 / np.pi * np.arcsin(pearson / 2))


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
    start = Ceiling(clips, left_out, float(known[0][used].mean()) if clips else None, reason=reason)
    return start, [np.asarray(rate, np.float64)[used] for rate in rates], [count[used] for count in known]


def _explain_scores(scores: np.ndarray, *, shares: bool) -> str:
    """Why nothing can be said of some scores; empty where something can."""
    if shares and (scores.min() < 0 or scores.max() > 1):
        return f"scores from {scores.min():g} to {scores.max():g} are no shares of viewers"
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
    start: Ceiling, scores: np.ndarray, chance: np.ndarray, find_spearman: Callable[[float], float]
) -> Ceiling:
    """Add reliability and ceilings, from each clip's variance by the viewers' chance."""
    reliability = float(1 - chance.mean() / scores.var(ddof=1))
    if reliability <= 0:
        return replace(start, reliability=reliability, reason=_NOTHING_LEFT)
    pearson = reliability**0.5
    ranks = find_spearman(pearson)
    low, high = _ceiling_interval(scores, chance, ranks / pearson)
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


def spearman_ceiling(scores: np.ndarray, responses: np.ndarray) -> float:
    """Spearman's correlation between the clips' true shares and their scores, which no model can exceed.

    The true shares' distribution is estimated from the counts, without a form that it must have (Laird 1978): by
    expectation maximisation on a grid, from the beta distribution of the same mean and variance. In skewed data the
    result lies below the square root of the reliability, as most clips are then alike and chance decides their ranks.

    Args:
        scores: Shares of viewers, (N,), which vary more than chance alone makes them.
        responses: Number of viewers of each clip, (N,), at least 2.
    Returns:
        In [0, 1].
    """
    hits = np.round(scores * responses)
    grid = (np.arange(_GRID) + 0.5) / _GRID
    pairs, rows, numbers = np.unique(np.stack([hits, responses], 1), axis=0, return_inverse=True, return_counts=True)
    # h ln t + (n - h) ln(1 - t), of each distinct pair of counts and each true share
    logs = xlogy(pairs[:, :1], grid) + xlog1py(pairs[:, 1:] - pairs[:, :1], -grid)
    likelihood = np.exp(logs - logs.max(axis=1, keepdims=True))
    prior = _start_prior(scores, responses, grid)
    for _ in range(int(np.clip(len(scores) // _CLIPS_A_STEP, _FEWEST_STEPS, _MOST_STEPS))):
        posterior = likelihood * prior
        posterior /= posterior.sum(axis=1, keepdims=True)
        prior = numbers @ posterior / len(scores)
    # Rank of a true share: what lies below it, and half of its own cell.
    ranks = prior.cumsum() - prior / 2
    spread = np.sqrt(prior @ ranks**2 - (prior @ ranks) ** 2)
    expected = (posterior @ ranks)[rows.ravel()]
    observed = rankdata(scores)
    covariance = np.mean((observed - observed.mean()) * (expected - expected.mean()))
    return float(np.clip(covariance / (observed.std() * spread), 0, 1))


def _start_prior(scores: np.ndarray, responses: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Beta distribution of the scores' mean and of their variance without chance, on the grid."""
    mean, reliability = scores.mean(), max(estimate_reliability(scores, responses), 0.01)
    # Var = m (1 - m) / (a + b + 1)
    both = max(mean * (1 - mean) / (scores.var(ddof=1) * reliability) - 1, 0.1)
    density = beta.pdf(grid, mean * both, (1 - mean) * both) + 1e-12
    return density / density.sum()


def _ceiling_interval(scores: np.ndarray, chance: np.ndarray, ratio: float) -> tuple[float, float]:
    """95 % interval of the Spearman ceiling: that of Pearson's by the delta method over clips, times their ratio."""
    squares = (scores - scores.mean()) ** 2
    variance = squares.mean()
    # R = 1 - C / V; what a clip adds to it: -(c_i - C) / V + C (v_i - V) / V^2
    added = -(chance - chance.mean()) / variance + chance.mean() * (squares - variance) / variance**2
    reliability, margin = 1 - chance.mean() / variance, 1.959964 * added.std(ddof=1) / np.sqrt(len(scores))
    low, high = np.sqrt(np.clip([reliability - margin, reliability + margin], 0, 1)) * ratio
    return float(low), float(min(high, 1.0))


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
    # [r c -+ sqrt((r c)^2 - l u' (2 r - l) (2 c - u'))] / [u' (2 c - u')], and with the other ends for the upper one
    lower = rho * top - np.sqrt(max((rho * top) ** 2 - low * above * (2 * rho - low) * (2 * top - above), 0))
    upper = rho * top + np.sqrt(max((rho * top) ** 2 - high * below * (2 * rho - high) * (2 * top - below), 0))
    if 2 * top <= above:
        return ShareOfCeiling(share)
    return ShareOfCeiling(share, float(lower / (above * (2 * top - above))), float(upper / (below * (2 * top - below))))
