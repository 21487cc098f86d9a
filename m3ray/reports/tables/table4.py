"""Table 4: each similarity measure alone, and what it adds to M3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from m3ray.reports.tables.study import Table, difference, interval, judged
from m3ray.schema import SIMILARITY
from m3ray.similarity import MEASURES

TITLE = "Similarity measures alone (15 epochs), and their contribution to M3"


def measures_table(trials: pd.DataFrame, facts: Mapping[str, Any]) -> Table:
    """Table 4 of the study.

    Args:
        trials: `trials.parquet`.
        facts: `own`, the full model's measure; `full`, the full model's name; `skipped`, measure to reason.
    """
    by_name = {row["variant"]: row for row in trials.to_dict("records")}
    rows = [row for name in MEASURES if (row := _row(name, by_name, facts)) is not None]
    frame = pd.DataFrame([printed for printed, _ in rows])
    values = pd.DataFrame([numbers for _, numbers in rows])
    if not rows:
        return Table(4, TITLE, frame, values, {}, {})
    best, second = judged({"rho": -values["spearman"], "MSE": values["mse"], "Contribution": -values["delta_spearman"]})
    return Table(4, TITLE, frame, values, best, second)


def _row(
    name: str, trials: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, Any]] | None:
    """What is printed of a measure, and its numbers; None where the study did not ask for it."""
    own = name == facts["own"]
    alone = trials.get(f"{SIMILARITY if own else name} alone")
    reason = facts["skipped"].get(name)
    if alone is None and reason is None:
        return None
    metric, applied_on, kind, reference = MEASURES[name].printed
    printed = {"Metric": metric, "Applied on": applied_on, "Type": kind, "Ref": reference, "Measure": name}
    alone = {"status": f"skipped: {reason}"} if alone is None else alone
    gain = _gain(trials.get("M3"), trials.get(facts["full"])) if own else dict(trials.get(f"M3 + {name}") or {})
    numbers = {column: alone.get(column, float("nan")) for column in ("features", "spearman", "spearman_std", "mse")}
    numbers |= {column: gain.get(column, float("nan")) for column in _GAINS}
    printed |= {
        "Features": _number(numbers["features"], "{:,.0f}"),
        "rho": _rho(alone),
        "rho sd": _number(numbers["spearman_std"], "{:.4f}"),
        "MSE": _number(numbers["mse"], "{:.5f}"),
        "Contribution": _contribution(alone, gain),
        "Over clips": interval(numbers["boot_low"], numbers["boot_high"]),
        "Applicable to": "clips with labels" if MEASURES[name].needs_labels else "all clips",
    }
    return printed, {"measure": name, **numbers}


def _rho(alone: Mapping[str, Any]) -> str:
    """The correlation, or why there is none."""
    if str(alone["status"]).startswith("skipped"):
        return ""
    return f"undefined: {alone['status']}" if pd.isna(alone["spearman"]) else f"{alone['spearman']:.4f}"


_GAINS = ("delta_spearman", "delta_low", "delta_high", "boot_low", "boot_high")


def _contribution(alone: Mapping[str, Any], gain: Mapping[str, Any]) -> str:
    if str(alone["status"]).startswith("skipped"):
        return str(alone["status"])
    return difference(gain) if gain else ""


def _gain(plain: Mapping[str, Any] | None, full: Mapping[str, Any] | None) -> dict[str, Any]:
    """The full model's difference to M3: M3's to the full model, turned round."""
    if plain is None or full is None or pd.isna(plain.get("delta_spearman")):
        return {}
    low, high = -plain["delta_high"], -plain["delta_low"]
    boot_low, boot_high = -plain["boot_high"], -plain["boot_low"]
    return dict(zip(_GAINS, (-plain["delta_spearman"], low, high, boot_low, boot_high), strict=True)) | {
        "status": full["status"]
    }


def _number(value: Any, pattern: str) -> str:
    return "" if pd.isna(value) else pattern.format(value)
