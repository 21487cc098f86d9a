"""Rows of scores as they are written: an aligned table for a terminal, CSV, or JSON, one a line."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, Protocol, TextIO

Row = Mapping[str, Any]
_NUMBERS = {"score": ".3f", "spread": ".3f", "low": ".3f", "high": ".3f", "time": ".2f", "seconds": ".1f"}
_NUMBERS |= {"shot": ".0f", "from": ".2f", "to": ".2f"}
_WIDTH = 7  # of a number's column
_SHORTEST = 12  # of the column of names


class Writer(Protocol):
    """What writes rows as they come."""

    def write(self, row: Row) -> None:
        """Write a row."""


class TableWriter:
    """An aligned table.

    Args:
        stream: where it is written.
        columns: numbers of each row, after the clip's name.
        names: names of the clips, as far as they are known, which decide on the first column's width.
        columns_wide: characters of a terminal's line; None: names are never shortened.
    """

    def __init__(
        self, stream: TextIO, columns: Sequence[str], names: Iterable[str], columns_wide: int | None = None
    ) -> None:
        self._stream, self._columns = stream, columns
        longest = max((len(escape_control(name)) for name in names), default=0)
        room = longest if columns_wide is None else columns_wide - (_WIDTH + 2) * len(columns) - 1
        self._width = max(min(longest, room), _SHORTEST)
        self._header = False

    def write(self, row: Row) -> None:
        """Write a row, the first one below a header.

        Args:
            row: Name of each column to its value, `clip_id` and `reason` among them.
        """
        if not self._header:
            self._print("clip", [f"{name:>{_WIDTH}}" for name in self._columns])
            self._header = True
        if row["reason"] is not None:
            blank = f"{'-':>{_WIDTH}}"
            self._print(row["clip_id"], [blank, f"{escape_control(row['reason'])}"])
            return
        self._print(row["clip_id"], [format_number(name, row[name]) for name in self._columns])

    def _print(self, name: str, cells: Sequence[str]) -> None:
        shown = shorten(escape_control(name), self._width)
        print("  ".join([f"{shown:<{self._width}}", *cells]).rstrip(), file=self._stream, flush=True)


class CsvWriter:
    """CSV with a header; what is not known is empty.

    Args:
        stream: where it is written.
        columns: the columns.
    """

    def __init__(self, stream: TextIO, columns: Sequence[str]) -> None:
        self._stream, self._columns = stream, columns
        self._csv = csv.writer(stream, lineterminator="\n")
        self._csv.writerow(columns)

    def write(self, row: Row) -> None:
        """Write a row.

        Args:
            row: Name of each column to its value.
        """
        self._csv.writerow(["" if (value := as_json(row[name])) is None else value for name in self._columns])
        self._stream.flush()


class JsonWriter:
    """JSON, an object a line; what is not known is null.

    Args:
        stream: where it is written.
        columns: the columns.
    """

    def __init__(self, stream: TextIO, columns: Sequence[str]) -> None:
        self._stream, self._columns = stream, columns

    def write(self, row: Row) -> None:
        """Write a row.

        Args:
            row: Name of each column to its value.
        """
        print(json.dumps({name: as_json(row[name]) for name in self._columns}), file=self._stream, flush=True)


def as_json(value: Any) -> Any:
    """A value of a row as JSON has it.

    Args:
        value: Text, number or None.
    Returns:
        The same, numbers as Python's, whole ones as such; None for NaN.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else None


def format_number(name: str, value: Any) -> str:
    """A number as a cell of its column.

    Args:
        name: Name of the column.
        value: Number; NaN is a dash.
    Returns:
        Text of the column's width.
    """
    number = as_json(value)
    return f"{'-' if number is None else format(number, _NUMBERS.get(name, '.3f')):>{_WIDTH}}"


def escape_control(text: str) -> str:
    """Escape what a terminal would obey instead of showing, such as line breaks and escape sequences in a file's name.

    Args:
        text: Any text.
    Returns:
        Printable text.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def shorten(text: str, width: int) -> str:
    """Take the middle out of a text that is too long: folder and file name stand at its ends.

    Args:
        text: Any text.
        width: Most characters.
    Returns:
        At most so many characters.
    """
    if len(text) <= width:
        return text
    end = (width - 3) * 2 // 3
    return f"{text[: width - 3 - end]}...{text[len(text) - end :]}"
