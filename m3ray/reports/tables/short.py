"""The short form of a table: the columns of the paper's own, for a paper's column."""

from __future__ import annotations

from dataclasses import replace

from m3ray.reports.tables.cells import read_cell
from m3ray.reports.tables.table import Table

_RESULTS = ("rho", "MSE")
_COLUMNS = {
    1: ("Model", "Features", *_RESULTS),
    2: ("Model", "Features", *_RESULTS),
    3: ("Model", *_RESULTS, "Features", "Parameters"),
    4: ("Metric", "Applied on", "Type", "Ref", "Features", *_RESULTS, "Contribution", "Applicable to"),
}
"""Columns of the paper's tables, in its order; Table 3's end with the tiers that a model sees."""


def shorten_table(table: Table) -> Table | None:
    """Shorten a table to the paper's own columns.

    Args:
        table: the table.
    Returns:
        The table of these columns, differences with their star and without interval; None where the paper has no such
        table, or nothing would be left out.
    """
    wanted = [name for name in (*_COLUMNS.get(table.number, ()), *table.ticks) if name in table.frame]
    if table.number not in _COLUMNS or not wanted:
        return None
    frame = table.frame[wanted].copy()
    if "Contribution" in wanted:
        frame["Contribution"] = [_cut_interval(str(text)) for text in frame["Contribution"]]
    return replace(table, frame=frame, notes=())


def _cut_interval(text: str) -> str:
    cell = read_cell(text)
    return text if cell is None else cell.lines[0]
