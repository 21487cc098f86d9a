"""Power of a study: which differences its runs and clips can find, and how many of either a difference needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from m3ray.study.statistics import ALPHA, INTERACTION_TAKEN_OFF, LEAST_CLIPS, Difference, combine_degrees_of_freedom

POWER = 0.8
_MOST = 1_000_000_000
_QUANTILES = (np.arange(400) + 0.5) / 400


@dataclass(frozen=True)
class Design:
    """Runs and clips of a study, and the parts of a difference's squared standard error.

    Args:
        seed_variance: Part that varies over runs.
        clip_variance: The rest, over clips.
        interaction_variance: Part of `seed_variance` that is noise of single clips in single runs.
        runs: Number of runs, at least 2.
        clips: Number of clips, at least 2.
    """

    seed_variance: float
    clip_variance: float
    interaction_variance: float
    runs: int
    clips: int

    def resize(self, runs: int | None = None, clips: int | None = None) -> Design:
        """The design with other numbers of runs and clips.

        Args:
            runs: Number of runs; None: as they are.
            clips: Number of clips; None: as they are.
        Returns:
            The design: what varies over runs falls with their number, what varies over clips with theirs, and what
            varies over both with both.
        """
        runs, clips = runs or self.runs, clips or self.clips
        fewer_runs, fewer_clips = self.runs / runs, self.clips / clips
        whole_runs = (self.seed_variance - self.interaction_variance) * fewer_runs
        single_clips = self.interaction_variance * fewer_runs * fewer_clips
        return Design(whole_runs + single_clips, self.clip_variance * fewer_clips, single_clips, runs, clips)

    @property
    def standard_error(self) -> float:
        """Standard error of a difference, as its interval has it."""
        return float(np.sqrt(self.seed_variance + self.clip_variance))

    @property
    def whole_runs(self) -> float:
        """Variance of runs that are better or worse as a whole; without what is left of the interaction in it."""
        left = self.interaction_variance * (1 / INTERACTION_TAKEN_OFF - 1)
        return max(0.0, self.seed_variance - self.interaction_variance - left)

    @property
    def true_error(self) -> float:
        """Standard error without that rest."""
        return float(np.sqrt(self.whole_runs + self.interaction_variance + self.clip_variance))

    @property
    def degrees_of_freedom(self) -> float:
        """Degrees of freedom of its square."""
        whole_runs = self.seed_variance - self.interaction_variance
        rest = self.clip_variance + self.interaction_variance
        return combine_degrees_of_freedom(whole_runs, rest, self.runs, self.clips)


def typical_design(differences: Sequence[Difference], runs: int, clips: int) -> Design | None:
    """The design of a table, of its differences' variances.

    What few runs show of themselves is skewed, so its share is averaged; the rest is taken at the median.

    Args:
        differences: Its differences; those without an interval do not count.
        runs: Number of runs of each.
        clips: Number of clips.
    Returns:
        The design; None where no difference has an interval.
    """
    parts = [
        (d.seed_variance, d.clip_variance, d.interaction_variance)
        for d in differences
        if d.p is not None and d.interaction_variance is not None
    ]
    if not parts:
        return None
    seeds, over_clips, single_clips = np.array(parts, float).T
    beyond = seeds - single_clips
    by_clips = seeds + over_clips - np.maximum(0, beyond)
    rest, interaction = float(np.median(by_clips)), float(np.median(single_clips))
    whole_runs = max(0.0, float(np.mean(beyond / by_clips))) * rest
    return Design(whole_runs + interaction, max(0.0, rest - interaction), interaction, runs, clips)


def predicted_power(effect: float, design: Design, alpha: float = ALPHA) -> float:
    """Share of studies that find a true difference.

    Args:
        effect: True difference.
        design: Runs, clips and variances.
        alpha: Level of the test; that of a table is divided by the number of its differences.
    Returns:
        In [0, 1].
    """
    if design.standard_error == 0:
        return 1.0 if effect else 0.0
    critical, error = _draw_critical_values(design, alpha), design.true_error
    beyond = [scipy.stats.norm.sf((critical - sign * effect) / error) for sign in (1, -1)]
    return float(np.mean(beyond[0] + beyond[1]))


def _draw_critical_values(design: Design, alpha: float) -> np.ndarray:
    """Differences that a study needs for a star: quantiles over what its few runs happen to show of their variance."""
    shown = scipy.stats.chi2.ppf(_QUANTILES, design.runs - 1) / (design.runs - 1)
    rest = design.clip_variance + design.interaction_variance
    seeds = design.whole_runs + design.interaction_variance / INTERACTION_TAKEN_OFF
    whole_runs = np.maximum(0, seeds * shown - design.interaction_variance)
    df = np.array([combine_degrees_of_freedom(part, rest, design.runs, design.clips) for part in whole_runs])
    return scipy.stats.t.ppf(1 - alpha / 2, df) * np.sqrt(whole_runs + rest)


def detectable_difference(design: Design, alpha: float = ALPHA, power: float = POWER) -> float:
    """Smallest true difference that a study finds with a given power.

    Args:
        design: Runs, clips and variances.
        alpha: Level of the test.
        power: Share of studies that are to find it.
    Returns:
        The difference, above 0; 0 where nothing varies.
    """
    error = design.standard_error
    if error == 0:
        return 0.0
    most = error * (scipy.stats.t.ppf(1 - alpha / 2, design.degrees_of_freedom) + 10) * 10
    return float(scipy.optimize.brentq(lambda effect: predicted_power(effect, design, alpha) - power, 0, most))


def needed_runs(effect: float, design: Design, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Runs with which a study of as many clips finds a true difference.

    Args:
        effect: True difference.
        design: Runs, clips and variances of a study that was made.
        alpha: Level of the test.
        power: Share of studies that are to find it.
    Returns:
        The number, at least 2; None where no number of runs is enough at these clips.
    """
    return _find_least(lambda runs: predicted_power(effect, design.resize(runs=runs), alpha) >= power, 2)


def needed_clips(effect: float, design: Design, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Clips with which a study of as many runs finds a true difference.

    Args:
        effect: True difference.
        design: Runs, clips and variances of a study that was made.
        alpha: Level of the test.
        power: Share of studies that are to find it.
    Returns:
        The number, at least 20; None where no number of clips is enough with these runs.
    """
    return _find_least(lambda clips: predicted_power(effect, design.resize(clips=clips), alpha) >= power, LEAST_CLIPS)


def _find_least(is_enough: Callable[[int], bool], least: int) -> int | None:
    """Smallest number that is enough, by doubling and halving; None where a thousand million is not."""
    if is_enough(least):
        return least
    low, high = least, 2 * least
    while not is_enough(high):
        if high > _MOST:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
