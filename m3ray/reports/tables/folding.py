"""A table as the page shows it: numbers that belong together stand below one another.

A table's files have a column a number. On a page of 1280 pixels twenty columns are cut, and what is cut is not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from m3ray.reports.tables.cells import read_cell
from m3ray.reports.tables.table import Table, find_mark

TICKED = "Tiers used"
"""Head of the column that names what a row ticks."""

_BESIDE: Mapping[str, str] = {"rho": "rho sd"}
"""Column to the one that stands behind its numbers as their deviation."""
_P = {"Corrected p": "corrected p {}"}
_BELOW: Mapping[str, Mapping[str, str]] = {
    "rho": {"rho of the runs' mean": "runs' mean {}", "Best epoch": "best {}"},
    "MSE": {"Mean error": "mean error {}"},
    "rho on test": {"MSE on test": "MSE {}"},
    "Over splits": {"Difference over splits": "difference {}"},
    "Features": {"Parameters": "{} parameters"},
    "Difference to full": {"Full model": "to {}"} | _P,
    "Contribution": _P,
    "Difference on test": {"Difference in MSE on test": "in MSE {}"},
    "Contribution on test": {"Contribution in MSE on test": "in MSE {}"},
    "Metric": {"Measure": "{}"},
    "Applied on": {"Type": "{}"},
}
"""Column to those that stand below its numbers, each with the words around its own."""


@dataclass(frozen=True)
class FoldedCell:
    """A cell on the page.

    Args:
        lines: its text, a line each; the first is what the column is sorted by.
        mark: mark of the first line: `best`, `second`, or nothing.
    """

    lines: tuple[str, ...]
    mark: str


@dataclass(frozen=True)
class FoldedTable:
    """A table's columns and rows on the page.

    Args:
        columns: heads.
        rows: cells of each row, one a head.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[FoldedCell, ...], ...]


def fold_table(table: Table) -> FoldedTable:
    """Fold a table's columns.

    Args:
        table: the table.
    Returns:
        Its cells: what tells of one number stands below that, and ticks are one column of words.
    """
    heads = list(_list_heads(table))
    rows = [
        tuple(_fold_cell(table, head, position, row) for head in heads)
        for position, row in enumerate(table.frame.to_dict("records"))
    ]
    return FoldedTable(tuple(heads), tuple(rows))


def _list_heads(table: Table) -> Iterator[str]:
    """Heads of the columns that the page keeps, the ticks' in place of the first tick."""
    columns = list(table.frame.columns)
    below = {name for host in columns for name in (_BESIDE.get(host), *_BELOW.get(host, ()))}
    for column in columns:
        if column in table.ticks:
            if column == table.ticks[0]:
                yield TICKED
        elif column not in below:
            yield column


def _fold_cell(table: Table, head: str, position: int, row: Mapping[str, str]) -> FoldedCell:
    if head == TICKED and head not in row:
        return FoldedCell((", ".join(tick for tick in table.ticks if row[tick]),), "")
    cell = read_cell(row[head])
    own = [row[head]] if cell is None else cell.lines
    if deviation := row.get(_BESIDE.get(head, "")):
        own[0] += f" ± {deviation}"
    below = [text.format(row[name]) for name, text in _BELOW.get(head, {}).items() if row.get(name)]
    return FoldedCell((*own, *below), find_mark(table, head, position))
