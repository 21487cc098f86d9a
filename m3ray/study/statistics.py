"""Statistics of runs: what a difference between two variants is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
RESAMPLES = 1000


@dataclass(frozen=True)
class Difference:
    """The mean difference of paired runs and its 95 % interval; None where one run gives none."""

    mean: float
    low: float | None
    high: float | None

    @property
    def excludes_zero(self) -> bool:
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def paired_difference(runs: np.ndarray, full: np.ndarray) -> Difference:
    """`runs` minus `full`, paired by seed, with Student's t interval.

    Args:
        runs: (R,), one metric of a variant's runs.
        full: (R,), of the full model's runs with the same seeds.
    """
    gaps = np.asarray(runs, float) - np.asarray(full, float)
    mean = float(gaps.mean())
    if len(gaps) < 2:
        return Difference(mean, None, None)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps)))
    return Difference(mean, mean - half, mean + half)


def deviation(runs: np.ndarray) -> float | None:
    """Sample standard deviation over runs; None for a single run."""
    return float(np.std(runs, ddof=1)) if len(runs) > 1 else None


def bootstrap_spearman(runs: np.ndarray, truth: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> np.ndarray:
    """Spearman's correlation, mean over runs, on clips drawn with replacement: (B,).

    The same seed draws the same clips, so what two variants get can be subtracted. A resample is a count a clip, and
    its ranks follow from the counts in an order that is sorted once.

    Args:
        runs: predictions, (R, V).
        truth: (V,).
        seed: of the draws.
        resamples: B.
    """
    clips = len(truth)
    counts = np.random.default_rng(seed).multinomial(clips, np.full(clips, 1 / clips), resamples).astype(float)
    ranked = _weighted_ranks(truth, counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.mean([_weighted_pearson(_weighted_ranks(run, counts), ranked, counts) for run in runs], axis=0)


def _weighted_ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Rank of each value where it occurs `counts` times, ties at their mean rank: (V,) and (B, V) to (B, V)."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sizes = np.add.reduceat(counts[:, order], starts, axis=1)
    middle = sizes.cumsum(axis=1) - (sizes - 1) / 2
    return middle[:, group]


def _weighted_pearson(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B, V) three times to (B,)."""
    total = weights.sum(axis=1, keepdims=True)
    a = a - (weights * a).sum(axis=1, keepdims=True) / total
    b = b - (weights * b).sum(axis=1, keepdims=True) / total
    scale = np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1))
    return (weights * a * b).sum(axis=1) / scale


def percentile_interval(samples: np.ndarray) -> tuple[float | None, float | None]:
    """The middle 95 % of resamples; None where too few are defined."""
    finite = samples[np.isfinite(samples)]
    if len(finite) < len(samples) / 2:
        return None, None
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
