"""Reading of CSV files as text: each cell as the file has it, no type guessed, no column taken for an index."""

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

_MAX_CELLS = 1_000_000  # as Python strings at once; Arrow holds the others in a third of the memory
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_Rows = Iterator[tuple[int, list[str]]]


def read_csv_text(data: bytes, where: str, *, spaced: bool = False) -> Sheet:
    """Read the columns of a CSV file as text.

    Names are trimmed. Rows without any text are skipped; a row may have commas at its end beyond the last column. A
    column without a name (an index that pandas wrote) is left out.

    Args:
        data: bytes of the file, UTF-8 with or without BOM or UTF-16 with one; with either line ending, and with quoted
            commas and newlines.
        where: the file, for messages.
        spaced: whether blanks after a comma are ignored.
    Returns:
        The columns, "" for an empty cell.
    Raises:
        SchemaError: If the file is no text or has no header, another separator, a repeated name, or a row with too many
            or too few cells.
    """
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = io.TextIOWrapper(io.BytesIO(data), "utf-16" if utf16 else "utf-8-sig", newline="")
    # Strict, as otherwise a quote that is never closed would make one cell of the rest of the file.
    reader = csv.reader(text, strict=True, skipinitialspace=spaced)
    try:
        names = _read_names(reader, where)
        empty: list[int] = []
        table, rows = _read_columns(_iter_rows(reader, names, where, empty), names)
    except UnicodeError as error:
        raise SchemaError(f"{where} cannot be read: it is no UTF-8 text ({error}): save it as UTF-8") from error
    except csv.Error as error:
        raise SchemaError(f"{where} cannot be read as CSV: {error} (line {reader.line_num})") from error
    nameless = [str(k) for k, name in enumerate(names, start=1) if not name]
    notes = (f"column {', '.join(nameless)} has no name and is left out",) if nameless else ()
    return Sheet(table, rows, tuple(empty), notes)


def _read_names(reader: Iterator[list[str]], where: str) -> list[str]:
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


def _iter_rows(reader: Iterator[list[str]], names: list[str], where: str, empty: list[int]) -> _Rows:
    """Yield number and cells of each row that has any text; append the numbers of the others to `empty`."""
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


def _read_columns(rows: _Rows, names: list[str]) -> tuple[pa.Table, np.ndarray]:
    rows_at_once = max(1, _MAX_CELLS // len(names))
    schema = pa.schema([(str(k), pa.string()) for k in range(len(names))])
    parts, numbers = [schema.empty_table()], []
    while chunk := list(islice(rows, rows_at_once)):
        numbers.append(np.fromiter((row for row, _ in chunk), np.int64, len(chunk)))
        cells = zip(*(cells for _, cells in chunk), strict=True)
        parts.append(pa.table([pa.array(column, pa.string()) for column in cells], schema=schema))
    named = [k for k, name in enumerate(names) if name]
    table = pa.concat_tables(parts).select(named).rename_columns([names[k] for k in named])
    return table, np.concatenate(numbers) if numbers else np.empty(0, np.int64)
