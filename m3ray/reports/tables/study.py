"""Tables 1 to 3 of the study, and the text of the columns that other tables have too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from m3ray.reports.tables.corrections import CORRECTED, correct_table, has_star
from m3ray.reports.tables.power_notes import describe_power
from m3ray.reports.tables.table import Table, rank_best
from m3ray.study.differences import order_rows, read_difference
from m3ray.study.variants import M3_NAME, M3S_NAME, UNFROZEN
from m3ray.tiers.pretrained.facts import SCORERS

TITLES = {
    1: "Ablation of the raw perception module alone (leave one feature out)",
    2: "Ablation of the raw perception module within the full model (leave one feature out)",
    3: "Comparative ablation of M3-S and M3 (leave one tier out)",
}

OTHER_DIFFERENCES = {
    "mse_delta": "Difference in MSE",
    "test_delta": "Difference on test",
    "test_mse_delta": "Difference in MSE on test",
}


def build_study_table(number: int, trials: pd.DataFrame, names: Sequence[str], *, finetuned: bool = False) -> Table:
    """Build one of Tables 1 to 3.

    Args:
        number: its number in the paper.
        trials: the study's `trials.parquet`.
        names: names of its variants, in order.
        finetuned: whether the finetuned model is one of them; Table 2 else says that it was not run.
    Returns:
        The table; variants that `trials` lacks are left out.
    """
    rows = order_rows(trials, names)
    corrected = correct_table(trials, names)
    records = rows.to_dict("records")
    columns = {"Model": list(rows["variant"])} | metric_columns(records)
    columns["Features"] = column_text(records, "features", "{:,.0f}")
    tiers: dict[str, list[str]] = _tier_columns(records) if number == 3 else {}
    if number == 3:
        columns["Parameters"] = column_text(records, "parameters", "{:,.0f}")
        columns |= tiers
    columns["Runs"] = column_text(records, "runs", "{:.0f}")
    if rows["full"].dropna().nunique() > 1:
        columns["Full model"] = ["" if pd.isna(row["full"]) else str(row["full"]) for row in records]
    columns["Difference to full"] = [difference_text(row, corrected=corrected[row["variant"]]) for row in records]
    columns["Corrected p"] = [probability_text(corrected[row["variant"]]) for row in records]
    columns |= other_differences(records)
    values = rows.assign(**{CORRECTED: rows["variant"].map(corrected)})
    frame = pd.DataFrame(columns)
    best, second = rank_best({"rho": -rows["spearman"], "MSE": rankable_errors(rows)}, frame)
    table = Table(number, _name_table(number, names), frame, values, best, second, describe_rows(records), tuple(tiers))
    return _append_unfrozen_row(table) if number == 2 and not finetuned else table


def _name_table(number: int, names: Sequence[str]) -> str:
    """Title of a table; that of Table 3 names the model where it is neither M3-S nor M3, but of captions, say."""
    if number == 3 and names and names[0] not in (M3S_NAME, M3_NAME):
        return f"Ablation of {names[0]} (leave one tier out)"
    return TITLES[number]


def metric_columns(rows: Sequence[Mapping[Any, Any]]) -> dict[str, list[str]]:
    """Columns of how good models are, on val, over further splits, and on test where the study has them.

    Args:
        rows: rows of `trials.parquet`.
    Returns:
        Head to the text of each cell.
    """
    columns = {
        "rho": column_text(rows, "spearman", "{:.4f}"),
        "rho sd": column_text(rows, "spearman_std", "{:.4f}"),
        "rho of the runs' mean": column_text(rows, "ensemble_spearman", "{:.4f}"),
        "MSE": _error_column(rows, "mse"),
        "Best epoch": [_best_epoch_text(row) for row in rows],
        "Over splits": [_splits_text(row, "splits_spearman") for row in rows],
        "Difference over splits": [_splits_text(row, "splits_delta", "+") for row in rows],
        "rho on test": column_text(rows, "test_spearman", "{:.4f}"),
        "MSE on test": _error_column(rows, "test_mse"),
    }
    return {head: texts for head, texts in columns.items() if any(texts) or head in ("rho", "rho sd", "MSE")}


def other_differences(
    rows: Sequence[Mapping[Any, Any]], prefixes: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Columns of the differences beside that in rank correlation on val: intervals without a star.

    Args:
        rows: rows of `trials.parquet`.
        prefixes: how the columns of each difference begin, to its head; None: those of Tables 1 to 3.
    Returns:
        Head to the text of each cell; only those that some row has.
    """
    heads = OTHER_DIFFERENCES if prefixes is None else prefixes
    columns = {head: [difference_text(row, prefix) for row in rows] for prefix, head in heads.items()}
    known = {head: prefix for prefix, head in heads.items()}
    return {
        head: texts
        for head, texts in columns.items()
        if any(read_difference(row, known[head]).estimate is not None for row in rows)
    }


def _tier_columns(rows: Sequence[Mapping[Any, Any]]) -> dict[str, list[str]]:
    used = [str(row["tiers"]).split("+") for row in rows]
    tiers = dict.fromkeys(tier for row in used for tier in row)
    heads = {tier: SCORERS[tier].title if tier in SCORERS else tier.capitalize() for tier in tiers}
    return {heads[tier]: ["yes" if tier in row else "" for row in used] for tier in tiers}


def _best_epoch_text(row: Mapping[Any, Any]) -> str:
    if pd.isna(row.get("best_spearman")) or pd.isna(row.get("best_epoch")):
        return ""
    return f"{row['best_spearman']:.4f} (epoch {row['best_epoch']:.0f})"


def _splits_text(row: Mapping[Any, Any], name: str, sign: str = "") -> str:
    """Mean and deviation of a number over further splits of the data, and how many there are; why there is none."""
    if pd.isna(row.get(name)):
        reason = row.get("splits_reason")
        return reason if isinstance(reason, str) and name == "splits_spearman" else ""
    deviation = "" if pd.isna(row.get(f"{name}_std")) else f" ± {row[f'{name}_std']:.4f}"
    return f"{row[name]:{sign}.4f}{deviation} (K = {row['splits']:.0f})"


def describe_rows(rows: Sequence[Mapping[Any, Any]]) -> tuple[str, ...]:
    """Describe what a table's intervals could have found.

    Args:
        rows: rows of `trials.parquet`, or of differences made of them.
    Returns:
        Sentences for below the table.
    """
    compared = [row for row in rows if pd.notna(row.get("delta_clips")) and pd.notna(row.get("delta_runs"))]
    if not compared:
        return ()
    runs = max(int(row["delta_runs"]) for row in compared)
    clips = max(int(row["delta_clips"]) for row in compared)
    text = describe_power([read_difference(row) for row in compared], runs, clips)
    return (text,) if text else ()


def _error_column(rows: Sequence[Mapping[Any, Any]], name: str) -> list[str]:
    return ["" if pd.isna(row.get(name)) else error_text(float(row[name])) for row in rows]


def error_text(value: float) -> str:
    """Text of a squared error: of decay rates, which are of the order of 1e-4, it has no five decimals.

    Args:
        value: the error.
    Returns:
        Five decimals, or three digits where these would say nothing.
    """
    return f"{value:.5f}" if value == 0 or value >= _SMALL_ERROR else f"{value:.3g}"


_SMALL_ERROR = 1e-3


def rankable_errors(rows: pd.DataFrame) -> pd.Series:
    """Squared errors of the models that rank clips at all: one that predicts a constant is best at nothing.

    Args:
        rows: rows with `mse` and `spearman`.
    Returns:
        The errors; not a number where the rank correlation is undefined.
    """
    return rows["mse"].astype(float).where(rows["spearman"].notna())


def _append_unfrozen_row(table: Table) -> Table:
    """Append Table 2's row of the model trained from frames, which a study on features does not run."""
    row = dict.fromkeys(table.frame.columns, "") | {"Model": f"{UNFROZEN}: not run"}
    return replace(table, frame=pd.concat([table.frame, pd.DataFrame([row])], ignore_index=True))


def column_text(rows: Sequence[Mapping[Any, Any]], name: str, pattern: str) -> list[str]:
    """Text of a column's numbers.

    Args:
        rows: rows of `trials.parquet`.
        name: name of the column, which older studies may lack.
        pattern: format of a number.
    Returns:
        The texts; empty where there is no number.
    """
    return ["" if pd.isna(row.get(name)) else pattern.format(row[name]) for row in rows]


def difference_text(row: Mapping[Any, Any], prefix: str = "delta", corrected: float = math.nan) -> str:
    """Text of a difference with its interval.

    Args:
        row: row of `trials.parquet`.
        prefix: how the columns of the difference begin.
        corrected: its probability after the table's correction; not a number: it has no star.
    Returns:
        The difference, its interval, an asterisk where the corrected probability is small; why there is none where
        there is none.
    """
    difference, status = read_difference(row, prefix), str(row["status"])
    pattern = _difference_pattern(row, prefix)
    if difference.estimate is None:
        return difference.reason if status == "done" else status
    text = f"{difference.estimate:{pattern}}"
    if status != "done":
        return f"{text} ({status})"
    if difference.low is None or difference.high is None:
        return f"{text} ({difference.reason or 'no interval'})"
    return f"{text} {interval_text(difference.low, difference.high, pattern)}{' *' if has_star(corrected) else ''}"


def _difference_pattern(row: Mapping[Any, Any], prefix: str) -> str:
    """Format of a difference: of squared errors as many digits as these have."""
    if "mse" not in prefix:
        return "+.4f"
    error = row.get("test_mse" if prefix.startswith("test") else "mse")
    return "+.3g" if error is not None and 0 < error < _SMALL_ERROR else "+.5f"


def interval_text(low: float, high: float, pattern: str = "+.4f") -> str:
    """Text of an interval.

    Args:
        low: lower end.
        high: upper end.
        pattern: format of both.
    Returns:
        The text.
    """
    return f"[{low:{pattern}}, {high:{pattern}}]"


def probability_text(value: float) -> str:
    """Text of a probability; empty where there is none."""
    if pd.isna(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
