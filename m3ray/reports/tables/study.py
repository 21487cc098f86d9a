"""The study's tables as the paper prints them: best bold, second underlined, in Markdown, CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from m3ray.study.differences import in_order
from m3ray.study.variants import UNFROZEN, UNFROZEN_MARK

TITLES = {
    1: "Ablation of the raw perception module alone (leave one feature out)",
    2: "Ablation of the raw perception module within the full model (leave one feature out)",
    3: "Comparative ablation of M3-S and M3 (leave one tier out)",
}


@dataclass(frozen=True)
class Table:
    """A table ready to print.

    Args:
        number: in the paper.
        title: a line.
        frame: what is printed, as text, a row a variant.
        values: the same rows with their numbers, for the CSV.
        best: column to the row of its best value, and `second` likewise.
    """

    number: int
    title: str
    frame: pd.DataFrame
    values: pd.DataFrame
    best: dict[str, int]
    second: dict[str, int]


def study_table(number: int, trials: pd.DataFrame, names: Sequence[str]) -> Table:
    """One table of the study.

    Args:
        number: in the paper.
        trials: `trials.parquet`.
        names: its variants in order.
    """
    rows = in_order(trials, names)
    frame = pd.DataFrame({"Model": rows["variant"]})
    frame["rho"] = _column(rows, "spearman", "{:.4f}")
    frame["rho sd"] = _column(rows, "spearman_std", "{:.4f}")
    frame["MSE"] = _column(rows, "mse", "{:.5f}")
    frame["Features"] = _column(rows, "features", "{:,.0f}")
    if number == 3:
        frame["Parameters"] = _column(rows, "parameters", "{:,.0f}")
        for tier in dict.fromkeys(tier for row in rows["tiers"] for tier in str(row).split("+")):
            frame[tier.capitalize()] = ["yes" if tier in str(t).split("+") else "" for t in rows["tiers"]]
    if rows["test_spearman"].notna().any():
        frame["rho on test"] = _column(rows, "test_spearman", "{:.4f}")
    frame["Runs"] = _column(rows, "runs", "{:.0f}")
    frame["Difference to full"] = [difference(row) for row in rows.to_dict("records")]
    frame["Over clips"] = [interval(row["boot_low"], row["boot_high"]) for row in rows.to_dict("records")]
    best, second = judged({"rho": -rows["spearman"], "MSE": rows["mse"]})
    table = Table(number, TITLES[number], frame, rows, best, second)
    return _with_unfrozen(table) if number == 2 and not rows["variant"].str.endswith(UNFROZEN_MARK).any() else table


def judged(columns: Mapping[str, pd.Series]) -> tuple[dict[str, int], dict[str, int]]:
    """The rows of the smallest and of the second smallest value of each column."""
    order = {name: values.astype(float).rank(method="first") for name, values in columns.items()}
    best = {name: int(ranks.idxmin()) for name, ranks in order.items() if ranks.notna().any()}
    return best, {name: int((ranks == 2).idxmax()) for name, ranks in order.items() if (ranks == 2).any()}


def _with_unfrozen(table: Table) -> Table:
    """Table 2's row of the model trained from frames, which a study on features does not run."""
    row = dict.fromkeys(table.frame.columns, "") | {"Model": f"{UNFROZEN}: not run"}
    return replace(table, frame=pd.concat([table.frame, pd.DataFrame([row])], ignore_index=True))


def _column(rows: pd.DataFrame, name: str, pattern: str) -> list[str]:
    return ["" if pd.isna(value) else pattern.format(value) for value in rows[name]]


def difference(row: Mapping[Any, Any]) -> str:
    """The paired difference with its interval; an asterisk where the interval excludes 0."""
    if pd.isna(row["delta_spearman"]):
        return "" if row["status"] == "done" else str(row["status"])
    if pd.isna(row["delta_low"]):
        return f"{row['delta_spearman']:+.4f} (one run: no interval)"
    if row["status"] != "done":
        return f"{row['delta_spearman']:+.4f} ({row['status']})"
    return f"{row['delta_spearman']:+.4f} {interval(row['delta_low'], row['delta_high'])}"


def interval(low: float, high: float) -> str:
    """An interval with an asterisk where it excludes 0; empty where there is none."""
    if pd.isna(low) or pd.isna(high):
        return ""
    return f"[{low:+.4f}, {high:+.4f}]{' *' if low > 0 or high < 0 else ''}"


def marked(table: Table, bold: Callable[[str], str], underline: Callable[[str], str]) -> pd.DataFrame:
    """The printed frame with the best value of each judged column in bold and the second underlined."""
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


def markdown(table: Table, warning: str = "") -> str:
    """The table in Markdown."""
    plain = replace(table, frame=table.frame.map(lambda value: str(value).translate(_MARKDOWN)))
    frame = marked(plain, "**{}**".format, "<u>{}</u>".format)
    heads = [name.translate(_MARKDOWN) for name in frame.columns]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(row) + " |" for row in frame.itertuples(index=False)]
    note = NOTE if table.best else ""
    return "\n".join([f"**Table {table.number}.** {table.title}. {warning}{note}", "", *lines, ""])


# Names of tiers, measures and labels are others' words: none of them may become a command.
_LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%_#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\n": " ", "\r": " "}
)
_MARKDOWN = str.maketrans({"|": "\\|", "<": "&lt;", ">": "&gt;", "\n": " ", "\r": " "})


def latex(table: Table, warning: str = "") -> str:
    """The table in LaTeX with booktabs."""
    frame = table.frame.map(lambda value: str(value).translate(_LATEX))
    for marks, wrap in ((table.best, r"\textbf{%s}"), (table.second, r"\underline{%s}")):
        for column, row in marks.items():
            frame.loc[row, column] = wrap % frame.loc[row, column]
    signs = {"rho": r"$\rho\uparrow$", "MSE": r"MSE$\downarrow$"}
    heads = [signs.get(name, name.translate(_LATEX)) for name in frame.columns]
    body = "\n".join(" & ".join(row) + r" \\" for row in frame.itertuples(index=False))
    caption = f"{table.title}. {warning}".translate(_LATEX)
    return (
        "\\begin{table}\n\\caption{"
        + caption
        + "}\n\\begin{tabular}{l"
        + "r" * (len(heads) - 1)
        + "}\n\\toprule\n"
        + " & ".join(heads)
        + " \\\\\n\\midrule\n"
        + body
        + "\n\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )
