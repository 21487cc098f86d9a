"""Table 6: what viewers did as targets, by the models that predict them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from m3ray.features.target_columns import TARGETS_TABLE
from m3ray.reports.tables.table import Table
from m3ray.study.statistics import LEAST_CLIPS

TITLE = "Targets by models: rank correlation on val with each measure of what viewers did"

_WORDS = {
    "score": "score",
    "hit_rate": "hit rate",
    "false_alarm_rate": "false alarm rate",
    "corrected": "corrected score",
    "d_prime": "d'",
    "alpha": "decay",
}

_NOTE = (
    "Mean of single runs ± their standard deviation; in brackets the ensemble of the runs. The ceiling estimates the "
    "rank correlation that a perfect model would have. The share is the ensemble's of it, as in the page's headline, "
    "with its 95 % interval over clips; a share above 1 is chance. "
    "All rows have the settings of the study's own target. Columns with ~ are rank correlations among the targets "
    "themselves, over all clips that have both."
)


def name_in_words(target: str) -> str:
    """Name a target as a person does.

    Args:
        target: Column of the catalogue.
    Returns:
        Its words, such as `decay` for `alpha`; its own name where it has no other.
    """
    return _WORDS.get(target, target)


def describe_target(target: str) -> str:
    """Name a target in words, and its column where that has another name.

    Args:
        target: Column of the catalogue.
    Returns:
        Text such as `decay (alpha)`.
    """
    words = name_in_words(target)
    return words if words == target else f"{words} ({target})"


def build_targets_table(rows: pd.DataFrame, correlations: pd.DataFrame) -> Table:
    """Build Table 6.

    Args:
        rows: A row a target and model, as `m3ray.study.targets.collect_targets` writes them.
        correlations: Rank correlations among the targets, a row and a column a target.
    Returns:
        The table, a row a target.
    """
    targets = list(dict.fromkeys(rows["target"]))
    models = list(dict.fromkeys(rows["variant"]))
    cells = {(row["target"], row["variant"]): row for row in rows.to_dict("records")}
    own = [cells[target, models[0]] for target in targets]
    frame = pd.DataFrame({"Target": [name_in_words(target) for target in targets]})
    frame["Val clips"] = [f"{row['clips']:,}" for row in own]
    for model in models:
        frame[f"rho of {model}"] = [_correlation_text(cells[target, model]) for target in targets]
    frame["Ceiling"] = [_number(row["ceiling"], "{:.3f}") or "unknown" for row in own]
    frame[f"Share, ensemble of {models[0]}"] = [_share_text(row) for row in own]
    if rows["test_clips"].gt(0).any():
        for model in models:
            frame[f"{model} on test"] = [_test_text(cells[target, model]) for target in targets]
    among = correlations.set_index("target")
    for other in targets:
        values = [among.loc[target, other] for target in targets]
        frame[f"~ {name_in_words(other)}"] = [_number(value, "{:.2f}") or "undefined" for value in values]
    notes = (_NOTE, *_explain_unknown(own), *_name_short(own))
    values = rows.merge(correlations.rename(columns={name: f"rho_with_{name}" for name in targets}), on="target")
    return Table(TARGETS_TABLE, TITLE, frame, values, {}, {}, notes)


def _number(value: Any, pattern: str) -> str:
    return "" if pd.isna(value) else pattern.format(value)


def _correlation_text(row: dict[Any, Any]) -> str:
    if pd.isna(row["spearman"]):
        return f"undefined ({row['status']})"
    deviation = _number(row["spearman_std"], " ± {:.4f}")
    ensemble = _number(row["ensemble_spearman"], "{:.4f}") or "undefined"
    marked = "" if row["status"] == "done" else f" ({row['status']})"
    return f"{row['spearman']:.4f}{deviation} [{ensemble}]{marked}"


def _test_text(row: dict[Any, Any]) -> str:
    return "" if not row["test_clips"] else _number(row["test_spearman"], "{:.4f}") or "undefined"


def _share_text(row: dict[Any, Any]) -> str:
    if pd.isna(row["share"]):
        return ""
    interval = "" if pd.isna(row["share_low"]) else f" [{row['share_low']:.2f}, {row['share_high']:.2f}]"
    return f"{row['share']:.2f}{interval}"


def _explain_unknown(rows: list[dict[Any, Any]]) -> list[str]:
    """Why targets have no ceiling."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if pd.isna(row["ceiling"]):
            reasons.setdefault(row["reason"], []).append(name_in_words(row["target"]))
    return [f"No ceiling of {', '.join(names)}: {reason}." for reason, names in reasons.items()]


def _name_short(rows: list[dict[Any, Any]]) -> list[str]:
    """Which targets have too few val clips for an interval."""
    names = [name_in_words(row["target"]) for row in rows if row["clips"] < LEAST_CLIPS]
    return [f"No interval under {LEAST_CLIPS} val clips: {', '.join(names)}."] if names else []
