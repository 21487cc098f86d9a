"""Tables 1 to 3 of the study, and any table in Markdown and LaTeX: best bold, second underlined."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from m3ray.reports.tables.corrections import CORRECTED, correct_table, has_star
from m3ray.reports.tables.power_notes import describe_power
from m3ray.study.differences import order_rows, read_difference
from m3ray.study.variants import UNFROZEN

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


@dataclass(frozen=True)
class Table:
    """A table ready to print.

    Args:
        number: its number in the paper.
        title: its title, one line.
        frame: text of each cell, a row a variant.
        values: the same rows as numbers, for the CSV.
        best: column to the row of its best value.
        second: column to the row of its second best value.
        notes: sentences that stand below it.
    """

    number: int
    title: str
    frame: pd.DataFrame
    values: pd.DataFrame
    best: dict[str, int]
    second: dict[str, int]
    notes: tuple[str, ...] = ()


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
    if number == 3:
        columns["Parameters"] = column_text(records, "parameters", "{:,.0f}")
        columns |= _tier_columns(records)
    columns["Runs"] = column_text(records, "runs", "{:.0f}")
    if rows["full"].dropna().nunique() > 1:
        columns["Full model"] = ["" if pd.isna(row["full"]) else str(row["full"]) for row in records]
    columns["Difference to full"] = [difference_text(row, corrected=corrected[row["variant"]]) for row in records]
    columns["Corrected p"] = [probability_text(corrected[row["variant"]]) for row in records]
    columns |= other_differences(records)
    values = rows.assign(**{CORRECTED: rows["variant"].map(corrected)})
    best, second = rank_best({"rho": -rows["spearman"], "MSE": rankable_errors(rows)})
    table = Table(number, TITLES[number], pd.DataFrame(columns), values, best, second, describe_rows(records))
    return _append_unfrozen_row(table) if number == 2 and not finetuned else table


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
    return {tier.capitalize(): ["yes" if tier in row else "" for row in used] for tier in tiers}


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


def rank_best(columns: Mapping[str, pd.Series]) -> tuple[dict[str, int], dict[str, int]]:
    """Find the rows of the best and of the second best value of each column.

    Args:
        columns: name to values, of which the smallest is the best.
    Returns:
        Column to the row of its best value, and column to the row of its second best; columns without are left out.
    """
    ranks = {name: values.astype(float).rank(method="first") for name, values in columns.items()}
    best = {name: int(rank.idxmin()) for name, rank in ranks.items() if rank.notna().any()}
    return best, {name: int((rank == 2).idxmax()) for name, rank in ranks.items() if (rank == 2).any()}


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


def mark_best(table: Table, bold: Callable[[str], str], underline: Callable[[str], str]) -> pd.DataFrame:
    """Mark the best and the second best value of each ranked column.

    Args:
        table: table to print.
        bold: wraps the text of a best value.
        underline: wraps the text of a second best value.
    Returns:
        The table's cells as text.
    """
    frame = table.frame.copy()
    for marks, wrap in ((table.best, bold), (table.second, underline)):
        for column, row in marks.items():
            frame.loc[row, column] = wrap(str(frame.loc[row, column]))
    return frame


NOTE = (
    "Values on val after the reported epoch; rho is Spearman's rank correlation, mean over single runs, sd its "
    "standard deviation over them. Rho of the runs' mean is another number: that of the mean of their predictions, "
    "which is what a bundle predicts and evaluate measures; the mean has less of each run's noise, so it is mostly "
    "higher. A difference is the row less its full model, paired by seed, with one 95 % interval that counts both that "
    "other runs and that other clips would give other numbers. * marks a difference in rho on val whose probability, "
    "after Holm's correction for all those of the table (in which a row's runs count as no less varied than the mean "
    "row's), is below 0.05; any other interval holds for itself alone and has no star, whether or not it reaches 0. "
    "Best epoch: the best mean over runs on val, and optimistic, as val chose it. Best bold, second underlined."
)


def to_markdown(table: Table, warning: str = "") -> str:
    """Write a table in Markdown.

    Args:
        table: table to print.
        warning: sentence that stands before the note.
    Returns:
        The text, which ends with a line break.
    """
    plain = replace(table, frame=table.frame.map(lambda value: str(value).translate(_MARKDOWN)))
    frame = mark_best(plain, "**{}**".format, "<u>{}</u>".format)
    heads = [name.translate(_MARKDOWN) for name in frame.columns]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(row) + " |" for row in frame.itertuples(index=False)]
    notes = [line for note in _list_notes(table) for line in ("", note.translate(_MARKDOWN))]
    return "\n".join([f"**Table {table.number}.** {table.title}. {warning}".rstrip(), "", *lines, *notes, ""])


def _list_notes(table: Table) -> list[str]:
    """Sentences below a table: how to read it, where it has models in it, and its own."""
    return [*([NOTE] if table.best else []), *table.notes]


# Names of tiers, measures and labels are users' text: none of them may become a command.
_LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%_#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\n": " ", "\r": " "}
)
_MARKDOWN = str.maketrans({"|": "\\|", "<": "&lt;", ">": "&gt;", "\n": " ", "\r": " "})


def to_latex(table: Table, warning: str = "") -> str:
    """Write a table in LaTeX with booktabs.

    Args:
        table: table to print.
        warning: sentence that ends the caption.
    Returns:
        A `table` environment.
    """
    escaped = replace(table, frame=table.frame.map(lambda value: str(value).translate(_LATEX)))
    frame = mark_best(escaped, r"\textbf{{{}}}".format, r"\underline{{{}}}".format)
    signs = {"rho": r"$\rho\uparrow$", "MSE": r"MSE$\downarrow$"}
    frame.columns = [signs.get(name, name.translate(_LATEX)) for name in frame.columns]
    caption = f"{table.title}. {warning}".translate(_LATEX)
    columns = "l" + "r" * (len(frame.columns) - 1)
    text = frame.to_latex(index=False, escape=False, caption=caption, column_format=columns)
    notes = " ".join(_list_notes(table)).translate(_LATEX)
    return text.replace("\\end{tabular}\n", f"\\end{{tabular}}\n\\par\\footnotesize {notes}\n") if notes else text
