"""Table 7: what the MLP is worth, beside regressors and the ensemble on the same features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from m3ray.reports.tables.corrections import CORRECTED, correct_table, has_star
from m3ray.reports.tables.study import (
    column_text,
    describe_rows,
    difference_text,
    interval_text,
    metric_columns,
    other_differences,
    probability_text,
    rankable_errors,
)
from m3ray.reports.tables.table import Table, rank_best
from m3ray.study.differences import order_rows, read_difference
from m3ray.study.variants import ENSEMBLE, REGRESSORS_TABLE, name_regressor

TITLE = "What the MLP is worth: regressors and the ensemble on the same features"

_NOTE = (
    "Ridge, svr (support vectors), boosting (trees) and constant (the mean score of the train split, which ranks "
    "nothing) are deterministic: one model each, the same for every seed, so they have no sd. Their difference to "
    "{full} is paired with each of its runs and counts how those vary. The row ensemble weighs the MLP and the "
    "regressors by what each predicts of train clips that it did not see, run by run, and corrects the scale; it is "
    "not the mean of a row's runs. The MLP's MSE and mean error are those of its runs as trained; a bundle of it is "
    "put on the scores' scale first (every --fit but paper). Mean error: prediction less truth. Seconds: of training, "
    "on the cores or the device that the row was given; the ensemble's are those of all its parts and of the MLPs that "
    "its weights were fitted on."
)
_NO_ENSEMBLE = (
    "No row of the ensemble: it is trained where a bundle may hold it, not with --fit paper alone; see --model and "
    "--fit."
)
_CONSTANT = "undefined: one score for all clips"


def build_regressors_table(trials: pd.DataFrame, names: Sequence[str]) -> Table:
    """Build Table 7.

    Args:
        trials: the study's `trials.parquet`.
        names: names of its variants, the full model first.
    Returns:
        The table; variants that `trials` lacks are left out.
    """
    rows, corrected = order_rows(trials, names), correct_table(trials, names)
    records = rows.to_dict("records")
    columns = {"Model": list(rows["variant"])} | _mark_undefined(metric_columns(records), records)
    columns.pop("Best epoch", None)
    columns["Mean error"] = column_text(records, "mean_error", "{:+.4f}")
    columns["Parameters"] = column_text(records, "parameters", "{:,.0f}")
    columns["Seconds"] = column_text(records, "seconds", "{:,.1f}")
    columns["Runs"] = column_text(records, "runs", "{:.0f}")
    columns["Difference to full"] = [_difference_text(row, corrected[row["variant"]]) for row in records]
    columns["Corrected p"] = [probability_text(corrected[row["variant"]]) for row in records]
    columns |= _mark_constant(other_differences(records), records)
    frame = pd.DataFrame(columns)
    best, second = rank_best({"rho": -rows["spearman"], "MSE": rankable_errors(rows)}, frame)
    missing = [] if name_regressor(ENSEMBLE) in names else [_NO_ENSEMBLE]
    notes = (describe_best(trials, names), _NOTE.format(full=names[0]), *missing, *describe_rows(records))
    values = rows.assign(**{CORRECTED: rows["variant"].map(corrected)})
    return Table(REGRESSORS_TABLE, TITLE, frame, values, best, second, notes)


def _difference_text(row: Mapping[Any, Any], corrected: float) -> str:
    """Text of a difference in rank correlation; a constant has none, and is not to be read as a run gone wrong."""
    if row["variant"] == name_regressor("constant") and pd.isna(row["spearman"]) and row["status"] == "done":
        return _CONSTANT
    return difference_text(row, corrected=corrected)


def _mark_constant(columns: dict[str, list[str]], rows: Sequence[Mapping[Any, Any]]) -> dict[str, list[str]]:
    """Differences in rank correlation that a constant has none of, said as in the first of them."""
    for head, texts in columns.items():
        if "MSE" not in head:
            columns[head] = [
                _CONSTANT if row["variant"] == name_regressor("constant") and row["status"] == "done" else text
                for text, row in zip(texts, rows, strict=True)
            ]
    return columns


def _mark_undefined(columns: dict[str, list[str]], rows: Sequence[Mapping[Any, Any]]) -> dict[str, list[str]]:
    """Say `undefined` where a trained model has no rank correlation."""
    trained = [row["status"] != "failed" for row in rows]
    for head in ("rho", "rho of the runs' mean", "rho on test"):
        if head in columns:
            known = zip(columns[head], trained, strict=True)
            columns[head] = [text or ("undefined" if done else "") for text, done in known]
    return columns


def describe_best(trials: pd.DataFrame, names: Sequence[str]) -> str:
    """Describe which model ranks val best, and whether it differs from the full model beyond noise.

    Args:
        trials: the study's `trials.parquet`.
        names: names of the table's variants, the full model first.
    Returns:
        A sentence.
    """
    rows, full = order_rows(trials, names), names[0]
    ranked = rows[rows["spearman"].notna()].sort_values("spearman", ascending=False, kind="stable")
    if ranked.empty:
        return "No model has a rank correlation on val."
    best = ranked.iloc[0].to_dict()
    head = f"Best on val: {best['variant']}, rho {best['spearman']:.4f}"
    if best["variant"] == full:
        return f"{head}; none of the models beside it ranks val better."
    return f"{head}; {_describe_gap(best, full, correct_table(trials, names)[best['variant']])}."


def _describe_gap(row: Mapping[Any, Any], full: str, corrected: float) -> str:
    found = read_difference(row)
    if found.estimate is None:
        return f"whether it differs from {full} is open: {found.reason}"
    if found.low is None or found.high is None:
        return f"{found.estimate:+.4f} to {full}, and whether that is noise is open: {found.reason}"
    gap = f"{found.estimate:+.4f} {interval_text(found.low, found.high)}"
    if pd.isna(corrected):
        return f"{gap} to {full}, and too few runs to tell it from noise after the table's correction"
    p = probability_text(corrected)
    p = p if p.startswith("<") else f"= {p}"
    return f"{gap} to {full}, {'beyond' if has_star(corrected) else 'within'} noise (corrected p {p})"
