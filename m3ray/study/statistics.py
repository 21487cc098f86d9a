"""Statistics of runs: what a difference between two variants is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95


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
