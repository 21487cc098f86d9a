"""What was planted in the demo, and what the study found of it: a row an effect, found or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from m3ray.datasets.demo import DRAWN
from m3ray.datasets.demo_traits import STRENGTHS
from m3ray.study.cautions import FEWEST_VAL_CLIPS
from m3ray.study.differences import read_difference
from m3ray.study.statistics import ALPHA
from m3ray.study.variants import M3_NAME, M3S_NAME


@dataclass(frozen=True)
class Effect:
    """Something that the demo draws, and the row of a table that shows whether a model misses it.

    Args:
        name: What is drawn, in words.
        trait: Name of what is drawn in the formula; None: nothing of it is.
        table: Number of the table.
        row: Row that leaves out what sees it.
    """

    name: str
    trait: str | None
    table: int
    row: str


EFFECTS = (
    Effect("how fast the picture drifts", "motion", 2, f"{M3S_NAME} without mean_optical_flow"),
    Effect("how bright it is", "brightness", 2, f"{M3S_NAME} without brightness"),
    Effect("how strong its contrast is", "contrast", 2, f"{M3S_NAME} without contrast"),
    Effect("how unusual its background is, measured by similarity", "oddness", 3, M3_NAME),
    Effect("how unusual its background is, seen by scene alone", "oddness", 3, f"{M3_NAME} without scene"),
    Effect("how fine its grain is", None, 2, f"{M3S_NAME} without blurriness"),
    Effect("which pattern it shows", None, 2, f"{M3S_NAME} without hog"),
    Effect("how large its file is", None, 2, f"{M3S_NAME} without size_bytes"),
    Effect("the disc's colour in later pictures", None, 3, f"{M3S_NAME} without event"),
)
"""The planted effects, and things that are drawn and that nobody remembers a clip by.

Raw features are left out of the full model (Table 2), whose other tiers explain the rest of the scores, so that a
difference is seen that would drown in raw features alone. What makes a clip unusual is seen twice: M3-S loses it with
similarity, and M3, which has no similarity, with scene. Pattern, grain and later colours are in other features too.
"""


@dataclass(frozen=True)
class PlantedRow:
    """An effect beside what the study found.

    Args:
        effect: The effect.
        strength: Probability of a clip with all of it less that of one with none of it, as planted; 0: not planted.
        share: Share of the variance of the clips' probabilities that it makes up: its part's covariance with them over
            that variance, so that the shares of all traits and of the noise add up to 1 however traits vary together.
        estimate: Difference in rank correlation of the row to its full model; None where it is undefined or not run.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end; None where there is none.
        p: Probability after the table's correction; None where there is none.
        clips: Number of val clips that the difference was measured on.
    """

    effect: Effect
    strength: float
    share: float
    estimate: float | None
    low: float | None
    high: float | None
    p: float | None
    clips: int

    @property
    def is_planted(self) -> bool:
        """Whether viewers remember clips by it."""
        return self.strength != 0

    @property
    def has_star(self) -> bool:
        """Whether the study's table marks the row."""
        return self.p is not None and self.p < ALPHA

    @property
    def verdict(self) -> str:
        """What came of it, in words."""
        if self.estimate is None:
            return "not run"
        if self.is_open:
            return f"cannot be told: {'no p' if self.clips >= FEWEST_VAL_CLIPS else f'{self.clips} val clips'}"
        if self.is_planted:
            return "found" if self.has_star and self.estimate < 0 else "not found"
        return "a false star" if self.has_star else "rightly without a star"

    @property
    def is_open(self) -> bool:
        """Whether it was run and has no star, where hardly any effect could have one, so that this says nothing."""
        return self.estimate is not None and not self.has_star and (self.clips < FEWEST_VAL_CLIPS or self.p is None)


def has_planted(columns: Sequence[str]) -> bool:
    """Whether a catalogue says what was drawn; that of another data set, or of an older demo, does not.

    Args:
        columns: Names of the catalogue's columns.
    Returns:
        Whether it has a column of each trait of the formula.
    """
    return all(f"{DRAWN}{trait}" in columns for trait in (*STRENGTHS, "probability"))


def compare_planted(
    clips: pd.DataFrame, trials: pd.DataFrame, corrected: Mapping[int, Mapping[str, float]], val_clips: int
) -> list[PlantedRow]:
    """Put what was planted beside what a study found.

    Args:
        clips: The catalogue's columns of what was drawn, a row a clip.
        trials: The study's `trials.parquet`.
        corrected: Table number to variant to its corrected probability.
        val_clips: Number of val clips that the study measured on.
    Returns:
        A row an effect: the planted ones, then the others.
    """
    rows = {row["variant"]: row for row in trials.to_dict("records")}
    return [_compare(effect, clips, rows, corrected.get(effect.table, {}), val_clips) for effect in EFFECTS]


def _compare(
    effect: Effect,
    clips: pd.DataFrame,
    rows: Mapping[str, Mapping[Any, Any]],
    corrected: Mapping[str, float],
    val_clips: int,
) -> PlantedRow:
    strength = 0.0 if effect.trait is None else STRENGTHS[effect.trait]
    share = 0.0 if effect.trait is None else _measure_share(strength * clips[f"{DRAWN}{effect.trait}"], clips)
    if effect.row not in corrected or effect.row not in rows:
        return PlantedRow(effect, strength, share, None, None, None, None, val_clips)
    found, p = read_difference(rows[effect.row]), corrected[effect.row]
    # Where runs stopped early the table has no star either.
    known = None if np.isnan(p) or rows[effect.row].get("status", "done") != "done" else float(p)
    return PlantedRow(effect, strength, share, found.estimate, found.low, found.high, known, val_clips)


def _measure_share(part: pd.Series, clips: pd.DataFrame) -> float:
    # Not var(part) / var(p): traits vary together by chance, and those shares would add up to more or less than 1.
    probability = clips[f"{DRAWN}probability"]
    return float(part.cov(probability) / probability.var())


def summarise_planted(rows: Sequence[PlantedRow]) -> str:
    """Count what was found.

    Args:
        rows: Rows of `compare_planted`.
    Returns:
        A sentence; another one on what cannot be told, which stands alone where nothing can be.
    """
    unknown = [row for row in rows if row.is_open]
    told = any(row.estimate is not None and not row.is_open for row in rows)
    parts = [_count_stars(rows)] if told or not unknown else []
    return " ".join([*parts, *([_explain_unknown(unknown, len(rows))] if unknown else [])])


def _count_stars(rows: Sequence[PlantedRow]) -> str:
    planted, others = ([row for row in rows if row.is_planted is kind] for kind in (True, False))
    found = sum(row.verdict == "found" for row in planted)
    false = sum(row.has_star for row in others)
    return (
        f"{found} of {len(planted)} planted effects have a star, and {false} of the {len(others)} that were not "
        "planted."
    )


def _explain_unknown(unknown: Sequence[PlantedRow], count: int) -> str:
    clips = unknown[0].clips
    why = f"{clips} val clips, and {FEWEST_VAL_CLIPS} are the fewest that tell much"
    if clips >= FEWEST_VAL_CLIPS:
        why = "too few runs or clips for a p"
    return f"Of {len(unknown)} of the {count} effects it cannot be told whether the study finds them: {why}."


def known_ceiling(clips: pd.DataFrame, split: str = "val") -> float | None:
    """Rank correlation with the scores that a model would have which knew every clip's probability.

    Args:
        clips: `split`, `score` and the catalogue's columns of what was drawn, a row a clip.
        split: The split.
    Returns:
        Spearman's rho; None where it is undefined.
    """
    part = clips[clips["split"] == split]
    rho = part["score"].corr(part[f"{DRAWN}probability"], method="spearman")
    return None if np.isnan(rho) else float(rho)
