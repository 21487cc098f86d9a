"""A CSV file as text: every cell as it stands in the file, no type guessed, no column taken for an index."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pyarrow as pa

from m3ray.errors import SchemaError
from m3ray.storage.columns import Sheet, check_names

_CELLS = 1_000_000  # Python strings at once: the rest is held by Arrow, in a third of the memory
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_Rows = Iterator[tuple[int, list[str]]]


def read_csv_text(data: bytes, where: str, *, spaced: bool = False) -> Sheet:
    """The columns of a CSV file, all as text, "" for an empty cell.

    Names are trimmed. Rows without any text are passed over; a row may end in commas that no column stands for. A
    column without a name (an index that pandas wrote) is left out.

    Args:
        data: UTF-8, with or without BOM, or UTF-16 with one; either line ending; quoted commas and newlines.
        where: the file, for messages.
        spaced: spaces after a comma belong to no cell.
    Raises:
        SchemaError: no text, no header, another separator, a name twice, or a row with too many or too few cells.
    """
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = io.TextIOWrapper(io.BytesIO(data), "utf-16" if utf16 else "utf-8-sig", newline="")
    # Strict: a quote that is never closed would else swallow the rest of the file as one cell.
    reader = csv.reader(text, strict=True, skipinitialspace=spaced)
    try:
        names = _names(reader, where)
        empty: list[int] = []
        table, rows = _columns(_rows(reader, names, where, empty), names)
    except UnicodeError as error:
        raise SchemaError(f"{where} cannot be read: it is no UTF-8 text ({error}): save it as UTF-8") from error
    except csv.Error as error:
        raise SchemaError(f"{where} cannot be read as CSV: {error} (line {reader.line_num})") from error
    nameless = [str(k) for k, name in enumerate(names, start=1) if not name]
    notes = (f"column {', '.join(nameless)} has no name and is left out",) if nameless else ()
    return Sheet(table, rows, tuple(empty), notes)


def _names(reader: Iterator[list[str]], where: str) -> list[str]:
    first = next((cells for cells in reader if any(cell.strip() for cell in cells)), None)
    if first is None:
        raise SchemaError(f"{where} cannot be read: it is empty; expected names of columns, then a row a clip")
    names = [cell.strip().strip("\ufeff").strip() for cell in first]
    while not names[-1]:
        names.pop()
    separator = next((sign for sign in _SEPARATORS if len(names) == 1 and sign in names[0]), None)
    if separator is not None:
        raise SchemaError(
            f"{where} is separated by {_SEPARATORS[separator]} (it begins {names[0][:60]!r}), expected commas: save it "
            "as comma-separated UTF-8"
        )
    check_names([name for name in names if name], where, ours=())
    return names


def _rows(reader: Iterator[list[str]], names: list[str], where: str, empty: list[int]) -> _Rows:
    """Number and cells of each row that has any text; the numbers of the others go to `empty`."""
    width = len(names)
    for row, cells in enumerate(reader, start=1):
        if not "".join(cells).strip():
            empty.append(row)
            continue
        while len(cells) > width and not cells[-1].strip():
            cells.pop()
        if len(cells) != width:
            raise SchemaError(
                f"{where}: row {row} (line {getattr(reader, 'line_num', row + 1)}) has {len(cells)} cells, the header "
                f"has {width} ({', '.join(names)}): quote a cell that holds a comma, leave no cell out"
            )
        yield row, cells


def _columns(rows: _Rows, names: list[str]) -> tuple[pa.Table, np.ndarray]:
    at_once = max(1, _CELLS // len(names))
    schema = pa.schema([(str(k), pa.string()) for k in range(len(names))])
    parts, numbers = [schema.empty_table()], []
    while chunk := list(islice(rows, at_once)):
        numbers.append(np.fromiter((row for row, _ in chunk), np.int64, len(chunk)))
        cells = zip(*(cells for _, cells in chunk), strict=True)
        parts.append(pa.table([pa.array(column, pa.string()) for column in cells], schema=schema))
    named = [k for k, name in enumerate(names) if name]
    table = pa.concat_tables(parts).select(named).rename_columns([names[k] for k in named])
    return table, np.concatenate(numbers) if numbers else np.empty(0, np.int64)
