"""Columns of a table in LaTeX: numbers aligned at the decimal point by siunitx, intervals in a column of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from m3ray.reports.tables.cells import Cell, read_cell
from m3ray.reports.tables.latex_text import break_lines
from m3ray.reports.tables.table import Table, find_mark

_HEAD_WIDTH, _TEXT_WIDTH, _REASON_WIDTH = 14, 32, 20
_HEADS = {"rho": r"$\rho\uparrow$", "MSE": r"MSE$\downarrow$"}
_INTERVAL = r"95\,\% interval"


@dataclass(frozen=True)
class Column:
    """A column in LaTeX.

    Args:
        head: its head, ready to print.
        specifier: how `tabular` sets it.
        cells: its cells, ready to print.
    """

    head: str
    specifier: str
    cells: tuple[str, ...]


def make_columns(table: Table, name: str) -> list[Column]:
    """Make the columns of LaTeX that one column of a table is.

    Args:
        table: the table.
        name: head of its column.
    Returns:
        One column of text, of ticks or of numbers; of numbers with intervals a second one.
    """
    texts = [str(text) for text in table.frame[name]]
    head = _HEADS[name] if name in table.best and name in _HEADS else break_lines(name, _HEAD_WIDTH, "c")
    if name in table.ticks:
        return [Column(head, "c", tuple(r"$\checkmark$" if text else "" for text in texts))]
    cells = [read_cell(text) for text in texts]
    if name == table.frame.columns[0] or not _is_numeric(texts, cells):
        head = break_lines(name, _HEAD_WIDTH)
        return [Column(head, "l", tuple(break_lines(text, _TEXT_WIDTH) for text in texts))]
    marks = [find_mark(table, name, row) for row in range(len(texts))]
    numbers = [_write_number(*parts) for parts in zip(texts, cells, marks, strict=True)]
    columns = [Column(f"{{{head}}}", _make_specifier([cell for cell in cells if cell]), tuple(numbers))]
    if any(cell and cell.interval for cell in cells):
        columns.append(Column(_INTERVAL, "c", tuple(_write_interval(cell) for cell in cells)))
    return columns


def _is_numeric(texts: Sequence[str], cells: Sequence[Cell | None]) -> bool:
    """Whether at least half of what stands in a column are numbers."""
    known = sum(cell is not None for cell in cells)
    return known > 0 and 2 * known >= sum(map(bool, texts))


def _write_number(text: str, cell: Cell | None, mark: str) -> str:
    if cell is None:  # braces keep what is no number from being read as one
        return f"{{{break_lines(text, _REASON_WIDTH, 'c')}}}" if text else ""
    number = cell.number.replace(",", "")
    before = (r"\bfseries " if mark == "best" else "") + (r"{$<$\,}" if cell.less else "")
    under = rf"\secondbest{{{cell.number.replace('-', '$-$').replace('+', '$+$')}}}" if mark == "second" else ""
    behind = under + _write_behind(cell)
    return before + number + (f"{{{behind}}}" if behind else "")


def _write_behind(cell: Cell) -> str:
    """What stands behind a number in its cell."""
    deviation = rf"\,$\pm$\,{cell.deviation}" if cell.deviation else ""
    ensemble = f" [{cell.ensemble}]" if cell.ensemble else ""
    remark = f" {break_lines(cell.rest, _TEXT_WIDTH)}" if cell.rest else ""
    return deviation + ensemble + (r"\,*" if cell.star else "") + remark


def _write_interval(cell: Cell | None) -> str:
    return "" if cell is None or cell.interval is None else f"$[{cell.interval[0]},\\;{cell.interval[1]}]$"


def _make_specifier(cells: Sequence[Cell]) -> str:
    """The siunitx column that has room for all of some numbers, and for what stands before and behind them."""
    numbers = [cell.number.replace(",", "") for cell in cells]
    signs = "".join(number[0] for number in numbers)
    sign = "+" if "+" in signs else "-" if "-" in signs else ""
    parts = [number.lstrip("+-").partition("e") for number in numbers]
    whole = max(len(digits.partition(".")[0]) for digits, _, _ in parts)
    decimals = max(len(digits.partition(".")[2]) for digits, _, _ in parts)
    exponent = max(len(power.lstrip("+-").lstrip("0")) for _, _, power in parts)
    options = [f"table-format={sign}{whole}.{decimals}" + (f"e-{exponent}" if exponent else "")]
    if behind := max(map(_write_behind, cells), key=len):
        options.append(f"table-space-text-post={{{behind}}}")
    if any(cell.less for cell in cells):
        options.append(r"table-space-text-pre={$<$\,}")
    return f"S[{','.join(options)}]"
