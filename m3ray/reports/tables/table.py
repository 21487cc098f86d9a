"""A table ready to print, and which of its values are the best and the second best."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Table:
    """A table ready to print.

    Args:
        number: its number in the paper.
        title: its title, one line.
        frame: text of each cell, a row a variant.
        values: the same rows as numbers, for the CSV.
        best: column to the rows of its best value: several where they are equal as printed.
        second: column to the rows of its second best value.
        notes: sentences that stand below it.
        ticks: columns that say `yes` where a row uses what the column is named for, such as a tier.
        cautions: what its numbers are to be read with, a sentence or two each.
        key: name of its files without their endings, and of its label in LaTeX; empty: `table` and its number.
    """

    number: int
    title: str
    frame: pd.DataFrame
    values: pd.DataFrame
    best: Mapping[str, tuple[int, ...]]
    second: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...] = ()
    ticks: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    key: str = ""

    @property
    def name(self) -> str:
        """Name of its files without their endings."""
        return self.key or f"table{self.number}"


def rank_best(
    columns: Mapping[str, pd.Series], frame: pd.DataFrame
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Find the rows of the best and of the second best value of each column; what is equal as printed ranks equal.

    Args:
        columns: head of a column to its values, of which the smallest is the best.
        frame: the table's cells as text.
    Returns:
        Head to the rows of its best value, and head to the rows of its second best; columns without are left out.
    """
    best: dict[str, tuple[int, ...]] = {}
    second: dict[str, tuple[int, ...]] = {}
    for head, values in columns.items():
        left = values.astype(float).dropna()
        for places in (best, second):
            if left.empty:
                break
            alike = _find_alike(list(frame[head]), left)
            places[head], left = alike, left.drop(list(alike))
    return best, second


def _find_alike(texts: list[str], values: pd.Series) -> tuple[int, ...]:
    """Rows whose printed number is that of the smallest value."""
    printed = {int(row): _read_number(texts[int(row)]) for row in values.index}
    smallest = printed[int(values.idxmin())]
    return tuple(row for row, number in printed.items() if number == smallest)


def _read_number(text: str) -> float | str:
    """The number that a cell begins with; the cell where it begins with none."""
    found = re.match(r"[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?", text)
    return float(found[0].replace(",", "")) if found else text


def find_mark(table: Table, column: str, row: int) -> str:
    """Find how a cell is marked.

    Args:
        table: the table.
        column: head of the cell's column.
        row: its row, from 0.
    Returns:
        `best`, `second`, or nothing.
    """
    if row in table.best.get(column, ()):
        return "best"
    return "second" if row in table.second.get(column, ()) else ""
