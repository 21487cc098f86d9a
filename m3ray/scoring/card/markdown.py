"""Pieces of Markdown: tables, numbers, and text that cannot break out of a cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def make_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a table.

    Args:
        heads: text of each column's head.
        rows: cells of each row, as many as there are heads.
    Returns:
        Its lines.
    """
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(escape_cell(cell) for cell in line)} |" for line in lines)


def escape_cell(text: str) -> str:
    """Keep text within a cell: bars are escaped, ends of lines are blanks.

    Args:
        text: text of the cell.
    Returns:
        The text in one line.
    """
    return " ".join(text.split()).replace("|", r"\|")


def format_number(value: float | None) -> str:
    """Format a number with what digits tell: four decimals, three digits where it is small.

    Args:
        value: the number; None: undefined.
    Returns:
        Its text.
    """
    if value is None:
        return "undefined"
    return f"{value:.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.3g}"


def format_interval(low: float | None, high: float | None) -> str:
    """Format the ends of an interval.

    Args:
        low: lower end; None: unknown.
        high: upper end; None: unknown.
    Returns:
        Text such as `0.10 to 0.20`; `not recorded` where it is unknown.
    """
    return "unknown" if low is None or high is None else f"{format_number(low)} to {format_number(high)}"


def join_paragraphs(parts: Iterable[str]) -> str:
    """Join paragraphs with an empty line between them.

    Args:
        parts: paragraphs, tables and headings; empty ones are left out.
    Returns:
        The text.
    """
    return "\n\n".join(part for part in parts if part)
