"""Table 4: each similarity measure alone, and what it adds to M3."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from m3ray.reports.tables.corrections import CORRECTED, correct_rows
from m3ray.reports.tables.study import (
    OTHER_DIFFERENCES,
    column_text,
    describe_rows,
    difference_text,
    metric_columns,
    other_differences,
    probability_text,
    rankable_errors,
)
from m3ray.reports.tables.table import Table, rank_best
from m3ray.schema import SIMILARITY
from m3ray.similarity import MEASURES
from m3ray.study.differences import PREFIXES, name_estimate, read_difference
from m3ray.study.table_list import MeasureNotes
from m3ray.study.variants import find_plain_name, name_alone, name_with_measure

_TITLE = "Similarity measures alone (15 epochs), and their contribution to {plain}"
_NOTE = (
    "rho, MSE and the best epoch are those of the measure alone; a contribution is {plain} with the measure less "
    "{plain}."
)


def build_measures_table(trials: pd.DataFrame, measures: MeasureNotes) -> Table:
    """Build Table 4.

    Args:
        trials: the study's `trials.parquet`.
        measures: the full model's measure and name, and why measures were skipped.
    Returns:
        The table, a row a measure that the study trained or skipped.
    """
    by_name = {row["variant"]: row for row in trials.to_dict("records")}
    rows = [row for name in MEASURES if (row := _find_row(name, by_name, measures)) is not None]
    plain = find_plain_name(by_name)
    title = _TITLE.format(plain=plain)
    if not rows:
        return Table(4, title, pd.DataFrame(), pd.DataFrame(), {}, {})
    corrected = correct_rows([row.contribution for row in rows])
    frame = pd.DataFrame(_build_columns(rows, corrected))
    values = pd.DataFrame([_list_numbers(row) for row in rows]).assign(**{CORRECTED: corrected})
    best, second = rank_best(
        {"rho": -values["spearman"], "MSE": rankable_errors(values), "Contribution": -values["delta_spearman"]}, frame
    )
    notes = (
        _NOTE.format(plain=plain),
        *_explain_own(rows, measures, plain),
        *describe_rows([row.contribution for row in rows]),
    )
    return Table(4, title, frame, values, best, second, notes)


def _explain_own(rows: Sequence[_MeasureRow], measures: MeasureNotes, plain: str) -> list[str]:
    """Say why the full model's own measure has another corrected probability than the same difference in Table 3."""
    own = next((row for row in rows if row.name == measures.own), None)
    if own is None or read_difference(own.contribution).estimate is None:
        return []
    return [
        f"The contribution of {own.name} is Table 3's difference of {plain} to {measures.full}, turned round; its "
        "corrected p is another one there, and its star may be, as Holm's method corrects for its own table's "
        "differences."
    ]


@dataclass(frozen=True)
class _MeasureRow:
    """A measure: its trial alone, and the trial whose differences are what it adds to M3, as rows of the trials."""

    name: str
    alone: Mapping[Any, Any]
    contribution: Mapping[Any, Any]


def _find_row(name: str, trials: Mapping[str, Mapping[Any, Any]], measures: MeasureNotes) -> _MeasureRow | None:
    """Find what a measure's row is made of; None where the study neither trained nor skipped it."""
    own, reason = name == measures.own, measures.skipped.get(name)
    alone = trials.get(name_alone(SIMILARITY if own else name))
    if alone is None and reason is None:
        return None
    alone = {"status": f"skipped: {reason}"} if alone is None else alone
    plain = find_plain_name(trials)
    added = trials.get(name_with_measure(name, plain))
    gain = _turn_round(trials.get(plain), trials.get(measures.full)) if own else added
    return _MeasureRow(name, alone, gain or {"status": "done"})


def _build_columns(rows: Sequence[_MeasureRow], corrected: np.ndarray) -> dict[str, list[str]]:
    entries = [MEASURES[row.name].table_entry for row in rows]
    columns = {
        head: [entry[place] for entry in entries] for place, head in enumerate(("Metric", "Applied on", "Type", "Ref"))
    }
    alone, contributions = [row.alone for row in rows], [row.contribution for row in rows]
    columns |= {"Measure": [row.name for row in rows], "Features": column_text(alone, "features", "{:,.0f}")}
    columns |= metric_columns(alone) | {"rho": [_rho_text(row) for row in alone]}
    columns["Contribution"] = [_contribution_text(row, p) for row, p in zip(rows, corrected, strict=True)]
    columns["Corrected p"] = [probability_text(p) for p in corrected]
    columns |= other_differences(contributions, _OTHERS)
    labels = [MEASURES[row.name].needs_labels for row in rows]
    return columns | {"Applicable to": ["clips with labels" if needs else "all clips" for needs in labels]}


_OTHERS = {prefix: head.replace("Difference", "Contribution") for prefix, head in OTHER_DIFFERENCES.items()}
_ENTRY = ("metric", "applied_on", "type", "ref")
_SPLITS = ("splits", "splits_spearman", "splits_spearman_std", "splits_delta", "splits_delta_std")
_ALONE = (
    *("features", "spearman", "spearman_std", "ensemble_spearman", "best_spearman", "best_epoch", "mse", "mse_std"),
    *("test_spearman", "test_mse", *_SPLITS),
)


def _list_numbers(row: _MeasureRow) -> dict[str, Any]:
    """A measure's names and numbers, for the CSV."""
    names = {"measure": row.name, **dict(zip(_ENTRY, MEASURES[row.name].table_entry, strict=True))}
    numbers = {name: row.alone.get(name, math.nan) for name in _ALONE}
    for prefix in PREFIXES.values():
        ends = ("low", "high", "p", "df", "runs", "clips")
        numbers |= {
            name: row.contribution.get(name, math.nan)
            for name in (name_estimate(prefix), *(f"{prefix}_{end}" for end in ends))
        }
    return {**names, "status": row.alone["status"], **numbers}


def _rho_text(alone: Mapping[Any, Any]) -> str:
    """Text of the correlation, or why there is none."""
    if str(alone["status"]).startswith("skipped"):
        return ""
    return f"undefined: {alone['status']}" if pd.isna(alone["spearman"]) else f"{alone['spearman']:.4f}"


def _contribution_text(row: _MeasureRow, corrected: float) -> str:
    if str(row.alone["status"]).startswith("skipped"):
        return str(row.alone["status"])
    return difference_text(row.contribution, corrected=corrected)


def _turn_round(plain: Mapping[Any, Any] | None, full: Mapping[Any, Any] | None) -> dict[Any, Any] | None:
    """Turn M3's differences to the full model round: the full model's differences to M3."""
    if plain is None or full is None or read_difference(plain).estimate is None:
        return None
    turned = dict(plain) | {"status": full["status"]}
    for prefix in PREFIXES.values():
        signs = {
            name_estimate(prefix): name_estimate(prefix),
            f"{prefix}_low": f"{prefix}_high",
            f"{prefix}_high": f"{prefix}_low",
        }
        turned |= {name: -plain[source] for name, source in signs.items() if plain.get(source) is not None}
    return turned
