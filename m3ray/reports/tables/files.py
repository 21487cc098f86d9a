"""The files of a table under `report/tables/`."""

from __future__ import annotations

from m3ray.reports.tables.latex import to_latex
from m3ray.reports.tables.markdown import to_markdown
from m3ray.reports.tables.short import shorten_table
from m3ray.reports.tables.table import Table
from m3ray.storage.csv_writing import csv_bytes
from m3ray.storage.root import Root

TABLES = ("report", "tables")
"""Folder of the tables below a root."""
_ENDINGS = (".md", ".tex", "_short.tex", ".csv")


def write_table(root: Root, table: Table, warning: str = "") -> None:
    """Write a table's files: Markdown, LaTeX in full and in the paper's columns, and CSV in full precision.

    Args:
        root: root that holds the report.
        table: the table.
        warning: sentence that stands behind its title.
    """
    short = shorten_table(table)
    contents = {
        ".md": to_markdown(table, warning).encode(),
        ".tex": to_latex(table, warning).encode(),
        ".csv": csv_bytes(table.values),
    }
    if short is not None:
        contents["_short.tex"] = to_latex(short, warning, short=True).encode()
    for ending, content in contents.items():
        root.write_bytes(content, *TABLES, f"{table.name}{ending}")


def name_files(number: int) -> list[str]:
    """Name the files that a table may have.

    Args:
        number: its number.
    Returns:
        Their names.
    """
    return [f"table{number}{ending}" for ending in _ENDINGS]
