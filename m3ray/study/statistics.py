"""Statistics of a study: confidence intervals of differences, by Student's t over runs and the bootstrap over clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 1000


@dataclass(frozen=True)
class PairedDifference:
    """Mean difference of paired runs with its 95 % confidence interval.

    Args:
        mean: Mean of the differences.
        low: Lower end of the interval; None for a single run, which has none.
        high: Upper end of the interval; None for a single run.
    """

    mean: float
    low: float | None
    high: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval, which a single run does not have."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def paired_difference(runs: np.ndarray, full: np.ndarray) -> PairedDifference:
    """Difference of a variant to the full model, paired by seed, with the confidence interval of a paired t-test.

    Args:
        runs: A metric of each of the variant's runs, (R,).
        full: The same metric of the full model's runs with the same seeds, (R,).
    Returns:
        The mean of `runs` - `full` and its interval.
    """
    differences = np.asarray(runs, float) - np.asarray(full, float)
    mean = float(differences.mean())
    if len(differences) < 2:
        return PairedDifference(mean, None, None)
    # mean +- t(R - 1) s / sqrt(R)
    standard_error = differences.std(ddof=1) / np.sqrt(len(differences))
    margin = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(differences) - 1) * standard_error)
    return PairedDifference(mean, mean - margin, mean + margin)


def bootstrap_spearman(runs: np.ndarray, truth: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> np.ndarray:
    """Bootstrap Spearman's rank correlation over clips.

    The same seed draws the same clips, so the values of two variants can be subtracted. A resample is a count of each
    clip, and its ranks follow from the counts in an order that is sorted once.

    Args:
        runs: Predictions of each run, (R, V).
        truth: Scores, (V,).
        seed: Seed of the resamples.
        resamples: Number of resamples, B.
    Returns:
        Correlation of each resample, mean over the runs, (B,); not a number where a resample has one score only.
    """
    clips = len(truth)
    counts = np.random.default_rng(seed).multinomial(clips, np.full(clips, 1 / clips), resamples).astype(float)
    ranked = _rank_resamples(truth, counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.mean([_pearson_of_resamples(_rank_resamples(run, counts), ranked, counts) for run in runs], axis=0)


def _rank_resamples(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Rank of each value that occurs `counts` times, ties at their mean rank: (V,) and (B, V) to (B, V)."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sizes = np.add.reduceat(counts[:, order], starts, axis=1)
    middle = sizes.cumsum(axis=1) - (sizes - 1) / 2
    return middle[:, group]


def _pearson_of_resamples(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted Pearson correlation of each row: three times (B, V) to (B,)."""
    total = weights.sum(axis=1, keepdims=True)
    a = a - (weights * a).sum(axis=1, keepdims=True) / total
    b = b - (weights * b).sum(axis=1, keepdims=True) / total
    scale = np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1))
    return (weights * a * b).sum(axis=1) / scale


def percentile_interval(samples: np.ndarray) -> tuple[float | None, float | None]:
    """95 % confidence interval of a bootstrap by its percentiles.

    Args:
        samples: Value of each resample, (B,).
    Returns:
        Lower and upper end; None and None where fewer than half of the values are finite.
    """
    finite = samples[np.isfinite(samples)]
    if len(finite) < len(samples) / 2:
        return None, None
    low, high = np.quantile(finite, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
