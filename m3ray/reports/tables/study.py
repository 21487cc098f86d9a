"""Tables 1 to 3 of the study, and any table in Markdown and LaTeX: best bold, second underlined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from m3ray.study.differences import order_rows
from m3ray.study.variants import UNFROZEN

TITLES = {
    1: "Ablation of the raw perception module alone (leave one feature out)",
    2: "Ablation of the raw perception module within the full model (leave one feature out)",
    3: "Comparative ablation of M3-S and M3 (leave one tier out)",
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
    """

    number: int
    title: str
    frame: pd.DataFrame
    values: pd.DataFrame
    best: dict[str, int]
    second: dict[str, int]


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
    frame = pd.DataFrame({"Model": rows["variant"]})
    frame["rho"] = _column_text(rows, "spearman", "{:.4f}")
    frame["rho sd"] = _column_text(rows, "spearman_std", "{:.4f}")
    frame["MSE"] = _column_text(rows, "mse", "{:.5f}")
    frame["Features"] = _column_text(rows, "features", "{:,.0f}")
    if number == 3:
        frame["Parameters"] = _column_text(rows, "parameters", "{:,.0f}")
        for tier in dict.fromkeys(tier for row in rows["tiers"] for tier in str(row).split("+")):
            frame[tier.capitalize()] = ["yes" if tier in str(t).split("+") else "" for t in rows["tiers"]]
    if rows["test_spearman"].notna().any():
        frame["rho on test"] = _column_text(rows, "test_spearman", "{:.4f}")
    frame["Runs"] = _column_text(rows, "runs", "{:.0f}")
    frame["Difference to full"] = [difference_text(row) for row in rows.to_dict("records")]
    frame["Over clips"] = [interval_text(row["boot_low"], row["boot_high"]) for row in rows.to_dict("records")]
    best, second = rank_best({"rho": -rows["spearman"], "MSE": rows["mse"]})
    table = Table(number, TITLES[number], frame, rows, best, second)
    return _append_unfrozen_row(table) if number == 2 and not finetuned else table


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


def _column_text(rows: pd.DataFrame, name: str, pattern: str) -> list[str]:
    return ["" if pd.isna(value) else pattern.format(value) for value in rows[name]]


def difference_text(row: Mapping[Any, Any]) -> str:
    """Text of a paired difference with Student's interval over runs.

    Args:
        row: row of `trials.parquet`.
    Returns:
        The difference, its interval, an asterisk where that excludes 0; the variant's status where there is none.
    """
    if pd.isna(row["delta_spearman"]):
        return "" if row["status"] == "done" else str(row["status"])
    if pd.isna(row["delta_low"]):
        return f"{row['delta_spearman']:+.4f} (one run: no interval)"
    if row["status"] != "done":
        return f"{row['delta_spearman']:+.4f} ({row['status']})"
    return f"{row['delta_spearman']:+.4f} {interval_text(row['delta_low'], row['delta_high'])}"


def interval_text(low: float, high: float) -> str:
    """Text of an interval, with an asterisk where it excludes 0.

    Args:
        low: lower end; not a number where there is no interval.
        high: upper end; not a number where there is no interval.
    Returns:
        The text; empty where there is no interval.
    """
    if pd.isna(low) or pd.isna(high):
        return ""
    return f"[{low:+.4f}, {high:+.4f}]{' *' if low > 0 or high < 0 else ''}"


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
    "Values of the last epoch, mean over runs on val; rho is Spearman's rank correlation, sd the standard deviation "
    "over runs. Differences are paired by seed, with Student's 95 % interval over runs and the bootstrap's over clips; "
    "* marks one that excludes 0. Best bold, second underlined."
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
    note = NOTE if table.best else ""
    return "\n".join([f"**Table {table.number}.** {table.title}. {warning}{note}", "", *lines, ""])


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
    return frame.to_latex(index=False, escape=False, caption=caption, column_format=columns)
