"""The ceiling of a study's scores on disk, `ceiling.json`: of val, of test and of all clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from m3ray.config import as_json, from_json
from m3ray.features.dataset import StudyData
from m3ray.features.target import SCORE
from m3ray.features.target_columns import read_numbers
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root
from m3ray.study.reliability import Ceiling, measure_ceiling, measure_corrected_ceiling
from m3ray.study.study import Study

FILE = "ceiling.json"
SETS = ("val", "test", "all")

# A score this far from hits / responses, in the mean, is another number, such as one corrected for the lag.
_ROUNDING = 0.006


@dataclass(frozen=True)
class StudyCeilings:
    """Ceilings of what a study predicts.

    Args:
        target: Column of the catalogue that it predicts.
        sets: `val`, `test` and `all` to the ceiling of their clips; a set without clips is left out.
        basis: Column whose reliability was measured: the target itself, or the hit rate in its place.
    """

    target: str
    sets: Mapping[str, Ceiling] = field(default_factory=dict)
    basis: str = SCORE

    def of(self, name: str) -> Ceiling:
        """Ceiling of a set of clips.

        Args:
            name: `val`, `test` or `all`.
        Returns:
            The ceiling; of no clips where the set has none.
        """
        return self.sets.get(name) or Ceiling(0, reason=f"no clip of {name} has a score")


def measure_study_ceilings(data: StudyData, catalogue: pa.Table) -> StudyCeilings:
    """Measure how reliable the scores of a study's clips are.

    Args:
        data: Clips, scores and splits of the study.
        catalogue: The root's catalogue, with what its viewers did.
    Returns:
        The ceilings; undefined, and why, where numbers of viewers are unknown.
    """
    counts = _read_counts(catalogue, data.features.clip_ids)
    scores, basis = _choose_basis(data.target.name, data.scores.astype(np.float64), counts)
    rows = {"val": data.val, "test": data.test, "all": np.sort(np.concatenate([data.train, data.val, data.test]))}
    sets = {
        name: _measure(data.target.name, scores[own], {key: _take(values, own) for key, values in counts.items()})
        for name, own in rows.items()
        if len(own)
    }
    return StudyCeilings(data.target.name, sets, basis)


def measure_clips(catalogue: pa.Table, ids: Sequence[str], target: str, scores: np.ndarray) -> Ceiling:
    """Measure how reliable the scores of some clips are.

    Args:
        catalogue: Clips, with what their viewers did.
        ids: Ids of N clips.
        target: What the scores are.
        scores: Their scores, (N,).
    Returns:
        The ceiling; undefined, and why, where numbers of viewers are unknown.
    """
    counts = _read_counts(catalogue, ids)
    return _measure(target, _choose_basis(target, np.asarray(scores, np.float64), counts)[0], counts)


def _read_counts(catalogue: pa.Table, ids: Sequence[str]) -> dict[str, np.ndarray | None]:
    return {name: read_numbers(catalogue, ids, name) for name in _COLUMNS}


_COLUMNS = ("responses", "hits", "hit_rate", "false_alarm_responses", "false_alarm_rate")


def _take(values: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if values is None else values[rows]


def _choose_basis(name: str, scores: np.ndarray, counts: Mapping[str, np.ndarray | None]) -> tuple[np.ndarray, str]:
    """The scores whose chance is that of a share of viewers, and their column.

    A score that is no share of these viewers, such as a corrected one, has another variance than p (1 - p) / n: where
    its clips' hits are known, the hit rate stands for it.
    """
    hits, responses = counts["hits"], counts["responses"]
    if name != SCORE or hits is None or responses is None:
        return scores, name
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = np.where(responses > 0, hits / responses, np.nan)
    gaps = np.abs(rates - scores)
    if not np.isfinite(gaps).any() or np.nanmean(gaps) <= _ROUNDING:
        return scores, name
    return np.where(np.isfinite(scores), rates, np.nan), "hit_rate"


def _measure(target: str, scores: np.ndarray, counts: Mapping[str, np.ndarray | None]) -> Ceiling:
    hits, alarms = counts["hit_rate"], counts["false_alarm_rate"]
    if target == "corrected" and hits is not None and alarms is not None:
        return measure_corrected_ceiling(hits, counts["responses"], alarms, counts["false_alarm_responses"])
    if target in ("corrected", "d_prime", "alpha"):
        scored = int(np.isfinite(scores).sum())
        return Ceiling(scored, reason=_UNKNOWN.get(target, "the rates behind it are unknown"))
    return measure_ceiling(scores, counts["false_alarm_responses" if target == "false_alarm_rate" else "responses"])


_UNKNOWN = {
    "d_prime": "the viewers' chance has no formula that holds for d' of few viewers",
    "alpha": "how far a clip's decay rate is the viewers' chance is not in the data",
}


def write_ceilings(study: Study) -> StudyCeilings:
    """Measure the ceilings of a study's scores and write them to its folder.

    Args:
        study: The study.
    Returns:
        The ceilings.
    """
    ceilings = measure_study_ceilings(study.data, read_catalogue(study.root))
    sets = {name: as_json(ceiling) for name, ceiling in ceilings.sets.items()}
    study.root.write_json({"target": ceilings.target, "basis": ceilings.basis, **sets}, *study.folder, FILE)
    return ceilings


def read_ceilings(root: Root, folder: tuple[str, ...]) -> StudyCeilings:
    """Read the ceilings of a study's scores.

    Args:
        root: Root that holds the study.
        folder: The study's folder below the root.
    Returns:
        The ceilings; undefined where an earlier m3ray made the study.
    """
    if not root.exists(*folder, FILE):
        old = Ceiling(0, reason="an earlier m3ray made this study: m3ray ablate adds it, and trains nothing anew")
        return StudyCeilings(SCORE, dict.fromkeys(SETS, old))
    values: dict[str, Any] = root.read_json(*folder, FILE)
    sets = {name: from_json(Ceiling, values[name]) for name in SETS if name in values}
    return StudyCeilings(values["target"], sets, values["basis"])


def describe_ceiling(ceilings: StudyCeilings, name: str = "val") -> str:
    """Say in a sentence or two how reliable a study's scores are.

    Args:
        ceilings: Ceilings of the study.
        name: `val`, `test` or `all`.
    Returns:
        The text, for below a table or a figure.
    """
    ceiling, what = ceilings.of(name), f"{ceilings.target} on {name}"
    if ceiling.spearman is None:
        negative = "" if ceiling.reliability is None else f" (reliability {ceiling.reliability:.3f})"
        return f"Ceiling unknown for {what}{negative}: {ceiling.reason}."
    half = "" if ceiling.split_half is None else f" Two halves of the viewers agree by {describe_halves(ceiling)}."
    left_out = f", {ceiling.left_out:,} clips without a known number left out" if ceiling.left_out else ""
    return (
        f"No model's rank correlation can exceed about {ceiling.spearman:.3f} for {what}: the reliability of the "
        f"scores is {ceiling.reliability:.3f} with {ceiling.responses:.0f} viewers a clip{left_out}"
        f"{_explain_basis(ceilings)}.{half}"
    )


def describe_halves(ceiling: Ceiling) -> str:
    """Text of the split-half consistency with its spread.

    Args:
        ceiling: A ceiling.
    Returns:
        The text; empty where it is undefined.
    """
    if ceiling.split_half is None:
        return ""
    spread = "" if ceiling.split_half_deviation is None else f" ± {ceiling.split_half_deviation:.3f}"
    full = "" if ceiling.full_length is None else f" ({ceiling.full_length:.3f} for all viewers)"
    return f"{ceiling.split_half:.3f}{spread}{full}"


def _explain_basis(ceilings: StudyCeilings) -> str:
    if ceilings.basis == ceilings.target:
        return ""
    return f", measured on the {ceilings.basis.replace('_', ' ')}, as {ceilings.target} is no plain share of viewers"
