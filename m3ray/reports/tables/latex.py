"""A table in LaTeX: booktabs and siunitx, a label, the warning in the caption, and below it how it is read."""

from __future__ import annotations

from collections.abc import Sequence

from m3ray.reports.tables.latex_columns import Column, make_columns
from m3ray.reports.tables.latex_text import escape, guard
from m3ray.reports.tables.notes import list_notes, list_short_notes
from m3ray.reports.tables.short import shorten_table
from m3ray.reports.tables.table import Table

_PREAMBLE = r"""% Needs in the preamble: \usepackage{amssymb,array,booktabs,graphicx,siunitx}
% Scaled down where it is wider than its line: table* or sidewaystable (\usepackage{rotating}) give it more room.
"""
_NARROWER = "% {name}_short.tex has the paper's columns alone, and room in a column of article.\n"
_SETUP = r"""\providecommand{\secondbest}[1]{\llap{\underline{\phantom{#1}}}}
\sisetup{detect-weight=true,retain-explicit-plus=true,group-digits=integer,group-minimum-digits=4,group-separator={,}}
\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%
"""
"""A number that is underlined stays a number; what is wider than the line is scaled down to it."""


def to_latex(table: Table, warning: str = "", *, short: bool = False) -> str:
    """Write a table in LaTeX.

    Args:
        table: table to print.
        warning: sentence that ends the caption.
        short: whether it is the short form: its label says so, and its notes are brief.
    Returns:
        A `table` environment, after a comment that names the packages which it needs.
    """
    heads = list(table.frame.columns)
    groups = [make_columns(table, name) for name in heads]
    columns = [column for group in groups for column in group]
    cautions = [f"To be read with this: {text}" for text in table.cautions]
    notes = list_short_notes(table) if short else list_notes(table)
    label = f"tab:{table.name}{'-short' if short else ''}"
    lines = [
        rf"\caption{{{escape(f'{table.title}. {warning}'.rstrip())}}}",
        rf"\label{{{label}}}",
        r"\smallskip",
        _SETUP + rf"\begin{{tabular}}{{{' '.join(column.specifier for column in columns)}}}",
        r"\toprule",
        *_write_group_head(table, groups),
        " & ".join(column.head for column in columns) + r" \\",
        r"\midrule",
        *_write_rows(columns),
        r"\bottomrule",
        r"\end{tabular}}",
        *_write_notes([*cautions, *notes]),
    ]
    narrower = "" if short or shorten_table(table) is None else _NARROWER.format(name=table.name)
    return _PREAMBLE + narrower + "\n".join([r"\begin{table}", r"\centering", *lines, r"\end{table}", ""])


def _write_group_head(table: Table, groups: Sequence[Sequence[Column]]) -> list[str]:
    """The line above the heads that says what ticks are of."""
    if not table.ticks:
        return []
    first = sum(len(group) for group in groups[: list(table.frame.columns).index(table.ticks[0])])
    last = first + len(table.ticks)
    head = " & " * first + rf"\multicolumn{{{len(table.ticks)}}}{{c}}{{Tiers used}}"
    after = " & " * (sum(map(len, groups)) - last)
    return [(head + after).rstrip() + r" \\", rf"\cmidrule(lr){{{first + 1}-{last}}}"]


def _write_rows(columns: Sequence[Column]) -> list[str]:
    rows = zip(*(column.cells for column in columns), strict=True)
    # What begins with [ or * would be taken for an option of the line break before it.
    return ["{}" * row[0].startswith(("[", "*")) + " & ".join(row) + r" \\" for row in rows]


def _write_notes(notes: Sequence[str]) -> list[str]:
    if not notes:
        return []
    return [
        r"\par\medskip",
        r"\begin{minipage}{\linewidth}\footnotesize",
        *(rf"{guard(note)}\par" for note in notes),
        r"\end{minipage}",
    ]
