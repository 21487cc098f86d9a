"""Table 4: each similarity measure alone, and what it adds to M3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from m3ray.reports.tables.study import Table, difference_text, interval_text, rank_best
from m3ray.schema import SIMILARITY
from m3ray.similarity import MEASURES
from m3ray.study.table_list import MeasureNotes
from m3ray.study.variants import M3_NAME, name_alone, name_with_measure

TITLE = "Similarity measures alone (15 epochs), and their contribution to M3"


def build_measures_table(trials: pd.DataFrame, measures: MeasureNotes) -> Table:
    """Build Table 4.

    Args:
        trials: the study's `trials.parquet`.
        measures: the full model's measure and name, and why measures were skipped.
    Returns:
        The table, a row a measure that the study trained or skipped.
    """
    by_name = {row["variant"]: row for row in trials.to_dict("records")}
    rows = [row for name in MEASURES if (row := _build_row(name, by_name, measures)) is not None]
    frame = pd.DataFrame([printed for printed, _ in rows])
    values = pd.DataFrame([numbers for _, numbers in rows])
    if not rows:
        return Table(4, TITLE, frame, values, {}, {})
    best, second = rank_best(
        {"rho": -values["spearman"], "MSE": values["mse"], "Contribution": -values["delta_spearman"]}
    )
    return Table(4, TITLE, frame, values, best, second)


def _build_row(
    name: str, trials: Mapping[str, Mapping[str, Any]], measures: MeasureNotes
) -> tuple[dict[str, str], dict[str, Any]] | None:
    """Build a measure's cells and numbers; None where the study neither trained nor skipped it."""
    own = name == measures.own
    alone = trials.get(name_alone(SIMILARITY if own else name))
    reason = measures.skipped.get(name)
    if alone is None and reason is None:
        return None
    metric, applied_on, kind, reference = MEASURES[name].table_entry
    printed = {"Metric": metric, "Applied on": applied_on, "Type": kind, "Ref": reference, "Measure": name}
    alone = {"status": f"skipped: {reason}"} if alone is None else alone
    gain = (
        _reverse_difference(trials.get(M3_NAME), trials.get(measures.full))
        if own
        else dict(trials.get(name_with_measure(name)) or {})
    )
    numbers = {column: alone.get(column, float("nan")) for column in ("features", "spearman", "spearman_std", "mse")}
    numbers |= {column: gain.get(column, float("nan")) for column in _GAINS}
    printed |= {
        "Features": _number(numbers["features"], "{:,.0f}"),
        "rho": _rho_text(alone),
        "rho sd": _number(numbers["spearman_std"], "{:.4f}"),
        "MSE": _number(numbers["mse"], "{:.5f}"),
        "Contribution": _contribution_text(alone, gain),
        "Over clips": interval_text(numbers["boot_low"], numbers["boot_high"]),
        "Applicable to": "clips with labels" if MEASURES[name].needs_labels else "all clips",
    }
    return printed, {"measure": name, **numbers}


def _rho_text(alone: Mapping[str, Any]) -> str:
    """Text of the correlation, or why there is none."""
    if str(alone["status"]).startswith("skipped"):
        return ""
    return f"undefined: {alone['status']}" if pd.isna(alone["spearman"]) else f"{alone['spearman']:.4f}"


_GAINS = ("delta_spearman", "delta_low", "delta_high", "boot_low", "boot_high")


def _contribution_text(alone: Mapping[str, Any], gain: Mapping[str, Any]) -> str:
    if str(alone["status"]).startswith("skipped"):
        return str(alone["status"])
    return difference_text(gain) if gain else ""


def _reverse_difference(plain: Mapping[str, Any] | None, full: Mapping[str, Any] | None) -> dict[str, Any]:
    """Reverse M3's difference to the full model: the full model's difference to M3."""
    if plain is None or full is None or pd.isna(plain.get("delta_spearman")):
        return {}
    low, high = -plain["delta_high"], -plain["delta_low"]
    boot_low, boot_high = -plain["boot_high"], -plain["boot_low"]
    return dict(zip(_GAINS, (-plain["delta_spearman"], low, high, boot_low, boot_high), strict=True)) | {
        "status": full["status"]
    }


def _number(value: Any, pattern: str) -> str:
    return "" if pd.isna(value) else pattern.format(value)
