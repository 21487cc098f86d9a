"""What a reader of a study has to be warned of, in plain sentences; a healthy study gives none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from m3ray.study.differences import read_difference
from m3ray.study.statistics import ALPHA, LEAST_CLIPS, correct_family

FEWEST_VAL_CLIPS = 30
_ERRORS = 3  # standard errors: one healthy model in 370 is further off; two would be one in 22
_BIAS = 0.1  # of the scores' standard deviation: 0.01 where scores spread by 0.1, as Memento10k's do
_SPREAD = 0.05  # of the scores' standard deviation; predictions that explain anything have about rho of it
_DOMINANT = 0.97  # share of clips in one cluster from which on clusters hardly tell clips apart
_FEWEST_SCORED = 10  # of fewer clips being alike says nothing


Subject = Literal[
    "error", "bias", "spread", "clips", "duplicates", "clusters", "baselines", "pretrained", "selection", "new scores"
]


@dataclass(frozen=True)
class Caution:
    """A warning, and what it is about, by which it stands beside the numbers that it is true of.

    Args:
        text: A sentence or two.
        about: Squared error, mean error or spread of scores; the number of clips; near duplicates; clusters of a tier;
            a better simple or pretrained model; the choice of settings; scores of new clips.
        tier: Vector tier that it is about; empty: none, or all.
    """

    text: str
    about: Subject
    tier: str = ""


@dataclass(frozen=True)
class _Moments:
    """Weighted mean and standard deviation of some numbers, and how many equally weighted ones they are worth."""

    mean: float
    deviation: float
    count: float

    @classmethod
    def of(cls, values: np.ndarray, weights: np.ndarray) -> _Moments:
        share = weights / weights.sum()
        mean, count = float(share @ values), float(1 / (share**2).sum())
        # sum w (x - mean)^2 n / (n - 1): n - 1 as one is lost to the mean
        variance = float(share @ (values - mean) ** 2) * count / max(count - 1, 1e-9)
        return cls(mean, float(np.sqrt(variance)), count)

    @property
    def standard_error(self) -> float:
        """Standard error of the mean."""
        return self.deviation / float(np.sqrt(self.count))


def find_score_cautions(
    name: str,
    scores: np.ndarray,
    truth: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    mse: float | None = None,
    where: str = "val",
) -> list[Caution]:
    """Find out whether scores are worse than a constant, too high or too low on average, or nearly all the same.

    Args:
        name: What predicts, as the sentences are to name it.
        scores: Predictions of clips that trained nothing, (n,), in the target's units.
        truth: True scores, (n,).
        weights: Weight of each clip, (n,); None: all equal.
        mse: Mean squared error as a table shows it, such as the mean of single runs; None: that of `scores`.
        where: What clips they are.
    Returns:
        A caution for each; none where a number is undefined, there are under 3 clips, or all truth is equal.
    """
    scores, truth = np.asarray(scores, np.float64), np.asarray(truth, np.float64)
    if len(truth) < 3 or not np.isfinite(scores).all() or np.ptp(truth) == 0:
        return []
    weights = np.ones(len(truth)) if weights is None else np.asarray(weights, np.float64)
    true, errors = _Moments.of(truth, weights), scores - truth
    own_mse = float(weights @ errors**2 / weights.sum())
    gained = _Moments.of(errors**2 - (truth - true.mean) ** 2, weights)
    shown, clips = own_mse if mse is None else mse, len(truth)
    found: dict[Subject, str] = {
        "error": _caution_error(name, shown, true.deviation**2, gained.standard_error, where, clips),
        "bias": _caution_bias(name, _Moments.of(errors, weights), true, where),
        "spread": _caution_spread(name, scores, _Moments.of(scores, weights), true, where),
    }
    return [Caution(text, about) for about, text in found.items() if text]


def _caution_error(name: str, mse: float, variance: float, chance: float, where: str, clips: int) -> str:
    # By one standard error of the difference: on 30 clips one healthy model in 30 is above the variance by chance. Of
    # fewer than 20 clips not even the variance is known.
    if clips < LEAST_CLIPS or not mse > variance + chance:
        return ""
    return (
        f"{name}: its mean squared error on {where}, {mse:.3g}, is above the variance of the scores, {variance:.3g}: "
        "one number for every clip, their mean, would be closer. Its ranks may still be good; its numbers are not."
    )


def _caution_bias(name: str, error: _Moments, true: _Moments, where: str) -> str:
    chance = _ERRORS * error.standard_error
    if abs(error.mean) <= max(chance, _BIAS * true.deviation):
        return ""
    side = "low" if error.mean < 0 else "high"
    return (
        f"{name}: its scores on {where} are too {side} by {abs(error.mean):.3g} on average, where chance explains up "
        f"to {chance:.2g} ({_ERRORS} standard errors): ranks do not suffer, but the scores are no numbers to quote "
        "before they are recalibrated (every --fit but paper recalibrates the bundle)."
    )


def _caution_spread(name: str, scores: np.ndarray, own: _Moments, true: _Moments, where: str) -> str:
    if own.deviation >= _SPREAD * true.deviation:
        return ""
    return (
        f"{name}: {_describe_alike(scores)} on {where}, {scores.min():.3f} to {scores.max():.3f}: their standard "
        f"deviation is {own.deviation:.2g}, that of the true scores {true.deviation:.2g}. {_WHY_CONSTANT}"
    )


def _describe_alike(scores: np.ndarray) -> str:
    return "it gives every clip the same score" if np.ptp(scores) == 0 else "it gives all clips nearly the same score"


_WHY_CONSTANT = (
    "A loss of ranks alone (--loss spearman) does that, as it leaves open how far scores lie apart: then read ranks, "
    "or train with mse_tails or mse_to_spearman; else the features say next to nothing of the score."
)


def caution_new_scores(name: str, scores: np.ndarray, low: np.ndarray, high: np.ndarray) -> list[str]:
    """Warn of scores of clips without truth that are nearly all the same beside their own intervals.

    Args:
        name: What predicts, as the sentence is to name it.
        scores: Scores, (n,).
        low: Lower ends of their 90 % intervals, (n,).
        high: Upper ends, (n,).
    Returns:
        One sentence or none; none under 10 clips, as that many may well be alike.
    """
    scores, widths = np.asarray(scores, np.float64), np.asarray(high, np.float64) - np.asarray(low, np.float64)
    if len(scores) < _FEWEST_SCORED or not np.isfinite(scores).all() or not np.isfinite(widths).all():
        return []
    if np.ptp(scores) >= _SPREAD * widths.mean():
        return []
    return [
        f"{name}: {_describe_alike(scores)}, {scores.min():.3f} to {scores.max():.3f} over {len(scores):,} clips, "
        f"beside 90 % intervals that are {widths.mean():.2f} wide. {_WHY_CONSTANT}"
    ]


def caution_clips(clips: int, where: str = "val") -> list[str]:
    """Warn of too few clips to tell a good model from a bad one.

    Args:
        clips: Number of scored clips that metrics are measured on.
        where: What clips they are.
    Returns:
        One sentence or none; none where there are 30 or more, and for no clip at all, which has no metric either.
    """
    if not 0 < clips < FEWEST_VAL_CLIPS:
        return []
    # Of unrelated numbers rho has the deviation 1 / sqrt(n - 1).
    chance = min(1.0, 1.96 / float(np.sqrt(max(clips - 1, 1))))
    return [
        f"{where} has {clips} clips, and {FEWEST_VAL_CLIPS} are the fewest that tell much: on {clips} the rank "
        f"correlation of numbers that have nothing to do with each other reaches ±{chance:.2f} by chance. Give more "
        f"scored clips, or have m3ray ablate cut the splits anew (--folds 5)."
    ]


def caution_clusters(tier: str, share: float, noise: float, eps: float | None) -> list[str]:
    """Warn of a clustering that puts nearly all clips into one group.

    Args:
        tier: Vector tier whose train clips were clustered.
        share: Share of them in the largest group, noise counted as one.
        noise: Share of them in no cluster.
        eps: Radius of a neighbourhood, in units of the t-SNE plane; None: an earlier m3ray did not keep it.
    Returns:
        One sentence or none; none under 97 %.
    """
    if share < _DOMINANT:
        return []
    group = "no cluster at all" if noise == share else "one cluster"
    radius = "" if eps is None else f" at eps {eps:.3g}"
    return [
        f"DBSCAN of {tier}: {share:.1%} of the train clips are in {group}{radius}, so that the similarity tier says "
        f"next to nothing of {tier}. Take another measure (--measure kde, say); the eps of --preset paper suits 7,000 "
        "clips, --preset default chooses it from the data."
    ]


def caution_selection(chosen: str, gain: float, error: float | None = None) -> list[str]:
    """Warn where choosing settings gained nothing over the preset.

    Args:
        chosen: Name of the chosen settings, which are not the preset's.
        gain: Their score on held-out clips of the train split less the preset's; higher is better.
        error: Standard error of the gain; None: unknown.
    Returns:
        One sentence or none; none where the gain is above one standard error, as the choice takes it to be real then.
    """
    if not gain <= (error or 0.0):
        return []
    chance = "" if error is None else f" (standard error {error:.2g})"
    return [
        f"choosing settings gained nothing to speak of: on held-out clips of the train split {chosen}, which was "
        f"chosen, scores {gain:+.4f}{chance} beside the preset's settings. --fit paper takes those."
    ]


def caution_baselines(trials: pd.DataFrame, full: str, names: Sequence[str]) -> list[str]:
    """Warn of a simpler model, or of the ensemble, that beats the full model beyond noise.

    Args:
        trials: The study's `trials.parquet`.
        full: Name of the full model.
        names: Names of the regressors' rows, on the same tiers; those that the study lacks are left out.
    Returns:
        One sentence or none. Beyond noise: its probability is below 0.05 after Holm's correction among these rows.
    """
    better = _list_better(trials, full, names)
    if not better:
        return []
    return [
        f"{full} is beaten beyond noise by {'; '.join(better)}: on these tiers a network of the paper's kind is not "
        f"the best model. --model auto, the default, makes a bundle the ensemble where that is better: such a bundle's "
        f"scores of new clips are not {full}'s (m3ray card says what a bundle is)."
    ]


def caution_pretrained(trials: pd.DataFrame, full: str, names: Sequence[str]) -> list[str]:
    """Warn of a pretrained scorer that beats the full model beyond noise.

    Args:
        trials: The study's `trials.parquet`.
        full: Name of the full model.
        names: Names of the pretrained scorers' rows; those that the study lacks are left out.
    Returns:
        One sentence or none.
    """
    better = _list_better(trials, full, names)
    if not better:
        return []
    return [
        f"{full} is beaten beyond noise by {'; '.join(better)}: what was learned here, of these clips, ranks them "
        "worse than a network that was trained elsewhere, unless these clips were among those that it was trained on. "
        "Score with that (m3ray predict --bundle with its name), let the model see it (--tiers), or give more scored "
        "clips."
    ]


def _list_better(trials: pd.DataFrame, full: str, names: Sequence[str]) -> list[str]:
    """Describe the rows of these names that beat the full model beyond noise."""
    rows = [row for row in trials.to_dict("records") if row["variant"] in names and row.get("full") == full]
    differences = [read_difference(row) for row in rows]
    return [
        _describe_better(row, difference.estimate)
        for row, difference, p in zip(rows, differences, correct_family(differences) if rows else (), strict=True)
        if difference.estimate is not None and difference.estimate > 0 and p < ALPHA
    ]


def _describe_better(row: Mapping[object, object], estimate: float) -> str:
    return f"{row['variant']} (rho {row['spearman']:.4f}, {estimate:+.4f})"
