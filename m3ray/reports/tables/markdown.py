"""A table in Markdown: best bold, second best underlined, what it is to be read with above it, its notes below."""

from __future__ import annotations

from m3ray.reports.tables.notes import list_notes
from m3ray.reports.tables.table import Table, find_mark

# Names of tiers, measures and labels are users' text: none of them may become a column or a tag.
_ESCAPED = str.maketrans({"|": "\\|", "<": "&lt;", ">": "&gt;", "\n": " ", "\r": " "})
_MARKED = {"best": "**{}**", "second": "<u>{}</u>", "": "{}"}


def to_markdown(table: Table, warning: str = "") -> str:
    """Write a table in Markdown.

    Args:
        table: table to print.
        warning: sentence that stands behind the title.
    Returns:
        The text, which ends with a line break.
    """
    heads = list(table.frame.columns)
    lines = [_join([_escape(head) for head in heads]), "|" + "---|" * len(heads)]
    for position, texts in enumerate(table.frame.itertuples(index=False)):
        marks = [_MARKED[find_mark(table, head, position)] for head in heads]
        lines.append(_join([mark.format(_escape(str(text))) for mark, text in zip(marks, texts, strict=True)]))
    title = f"**Table {table.number}.** {_escape(table.title)}. {warning}".rstrip()
    cautions = [f"> - {_escape(text)}" for text in table.cautions]
    if cautions:
        cautions = ["> To be read with this:", ">", *cautions, ""]
    notes = [line for note in list_notes(table) for line in ("", _escape(note))]
    return "\n".join([title, "", *cautions, *lines, *notes, ""])


def _escape(text: str) -> str:
    return text.translate(_ESCAPED)


def _join(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
