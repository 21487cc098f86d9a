"""A table of clips: CSV, Parquet or JSON lines with `uri`, optionally `clip_id`, `split`, `score`, `labels`."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs as pafs

from m3ray.datasets.catalogue import score_of
from m3ray.datasets.listing import Listing
from m3ray.errors import SchemaError
from m3ray.schema import CATALOGUE
from m3ray.storage.columns import Sheet, as_numbers, as_text, check_names, is_text, lacks_number, number_of, trimmed
from m3ray.storage.csv_text import read_csv_text
from m3ray.storage.filesystems import absolute_uri, is_local, local_path, looked_at, one_line, retried
from m3ray.storage.json_lines import read_json_lines
from m3ray.storage.parquet_file import read_parquet
from m3ray.storage.schemes import check_uris, with_lower_schemes

_READERS: dict[str, Callable[[bytes, str], Sheet]] = {
    ".csv": read_csv_text,
    ".parquet": read_parquet,
    ".jsonl": read_json_lines,
}
# The user's further columns that some job reads as numbers; all others of a CSV file stay text.
_NUMBERS = ("alpha",)
_SCHEME = r"^(?:[A-Za-z][A-Za-z0-9+.-]*://|file:/|/)"
_DOTS = r"(?:^|/)\.\.?(?:/|$)"


def list_table(root: str) -> pa.Table:
    """The clips of a table alone, without what is to be said about them."""
    return read_table(root).table


def read_table(root: str) -> Listing:
    """The clips of a table, as columns of the catalogue; further columns are kept as they are written.

    Rows that repeat another one to the letter stand once.

    Raises:
        SchemaError: no such file, no `uri` column or one that was meant to be it, no row, an impossible score or label
            (the row is named).
    """
    uri = absolute_uri(root)
    sheet = _read(uri)
    _check_columns(sheet, uri)
    try:
        table, repeats = _without_repeats(_catalogue(sheet, uri))
    except SchemaError as error:
        raise SchemaError(f"{uri}: {error}") from error
    return Listing(table, tuple(f"table: {note}" for note in (*sheet.said(), *_scoreless(sheet.table), *repeats)))


def _check_columns(sheet: Sheet, uri: str) -> None:
    names = sheet.table.column_names
    check_names(names, uri)
    if names and "uri" not in names:
        raise SchemaError(f"{uri} has no column uri; it has {', '.join(names)}")
    if not sheet.table.num_rows:
        why = "uri is empty in every row" if sheet.empty else "there is no row beneath its header"
        raise SchemaError(f"{uri} holds no clip: {why}; write one a clip")


def _read(uri: str) -> Sheet:
    fs, path, info = looked_at(uri)
    if info.type != pafs.FileType.File:
        raise SchemaError(f"no table at {uri}: give a .csv, .parquet or .jsonl file with --root")
    reader = _READERS.get("." + path.rsplit(".", 1)[-1].lower())
    if reader is None:
        raise SchemaError(f"{uri}: expected a name ending in {', '.join(_READERS)}")

    def read() -> bytes:
        with fs.open_input_stream(path) as stream:
            return stream.read()

    try:
        return reader(retried(read, fs), uri)
    except (OSError, ValueError) as error:
        raise SchemaError(f"{uri} cannot be read: {one_line(error)}") from error


def _catalogue(sheet: Sheet, uri: str) -> pa.Table:
    table, rows = sheet.table, sheet.rows
    where = with_lower_schemes(_text(table, "uri"))
    if where.null_count:
        empty = int(np.flatnonzero(pc.is_null(where).to_numpy())[0])
        raise SchemaError(f"row {rows[empty]}: uri is empty")
    # Before a URI is put beneath a folder, or said: without its slashes it would pass for a name there.
    check_uris(where, rows)
    columns = {
        "clip_id": pc.coalesce(_text(table, "clip_id"), where),
        "uri": _absolute(where, _folder(uri), rows),
        "split": _text(table, "split"),
        "score": _scores(table, rows),
        "labels": _labels(table, rows),
    }
    columns |= {name: _own(table[name], name, rows) for name in table.column_names if name not in columns}
    return pa.table(columns)


def _text(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column as trimmed text, null where it is empty or absent."""
    if name not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    return trimmed(as_text(table[name], name))


def _folder(uri: str) -> str:
    """The folder of a table, as a path where it is local: names beneath it are then taken as they stand."""
    return (local_path(uri) if is_local(uri) else uri).rsplit("/", 1)[0]


def _absolute(where: pa.ChunkedArray, folder: str, rows: np.ndarray) -> pa.ChunkedArray:
    placed = pc.match_substring_regex(where, _SCHEME)
    found = pc.if_else(placed, where, pc.binary_join_element_wise(folder, where, "/"))
    if is_local(folder):
        return found
    # Dots lead somewhere in what is relative; in a key of S3 they are just letters, that no client can ask for.
    climbing = pc.and_(pc.invert(placed), pc.match_substring_regex(where, _DOTS))
    if not pc.any(climbing).as_py():
        return found
    values = zip(found.to_pylist(), climbing.to_pylist(), rows.tolist(), strict=True)
    return pa.chunked_array([[_resolved(value, row) if climbs else value for value, climbs, row in values]])


def _resolved(uri: str, row: int) -> str:
    scheme, _, path = uri.partition("://")
    bucket, _, key = path.partition("/")
    found = posixpath.normpath(key)
    if found.startswith(".."):
        raise SchemaError(f"row {row}: uri {uri} climbs out of its bucket: give the whole URI")
    return f"{scheme}://{bucket}/{found}"


def _scores(table: pa.Table, rows: np.ndarray) -> pa.ChunkedArray:
    if "score" not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, pa.float64())])
    scores = as_numbers(table["score"], "score", rows, score_of)
    outside = pc.or_(pc.less(scores, 0), pc.greater(scores, 1))
    if pc.any(outside).as_py():
        row = int(np.flatnonzero(pc.fill_null(outside, False).to_numpy())[0])
        score_of(scores[row].as_py(), int(rows[row]))
    return scores


def _scoreless(table: pa.Table) -> list[str]:
    """Scores that are words for none: said, since a slip might hide among them."""
    if "score" not in table.column_names or not is_text(table["score"].type):
        return []
    count = pc.sum(lacks_number(trimmed(table["score"].cast(pa.string())))).as_py() or 0
    return [f"{count} scores are NA, nan or the like, and taken for none"] if count else []


def _labels(table: pa.Table, rows: np.ndarray) -> pa.ChunkedArray:
    """Lists of strings, from lists, from text with | between, or from numbers that are names."""
    kind = CATALOGUE.field("labels").type
    if "labels" not in table.column_names or pa.types.is_null(table["labels"].type):
        return pa.chunked_array([pa.array([[]] * table.num_rows, kind)])
    column = table["labels"]
    if any(test(column.type) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)):
        lists = [_label_list(cell, row) for cell, row in zip(column.to_pylist(), rows.tolist(), strict=True)]
        return pa.chunked_array([pa.array(lists, kind)])
    # Few texts, many rows: each is taken apart once.
    texts = as_text(column, "labels").fill_null("")
    known = pc.unique(texts)
    lists = [[part.strip() for part in text.split("|") if part.strip()] for text in known.to_pylist()]
    return pa.chunked_array([pa.array(lists, kind).take(pc.index_in(texts, known).combine_chunks())])


def _label_list(cell: list[Any] | None, row: int) -> list[str]:
    return [label for label in (_label(part, row) for part in cell or () if part is not None) if label]


def _label(value: Any, row: int) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value).strip()
    raise SchemaError(f"row {row}: label {value!r}; expected text or a whole number")


def _own(column: pa.ChunkedArray, name: str, rows: np.ndarray) -> pa.ChunkedArray:
    """A user's column: text stays as it is written, null where a cell is empty."""
    if name in _NUMBERS:
        return as_numbers(column, name, rows, partial(_number, name))
    return pc.if_else(pc.equal(column, ""), None, column) if pa.types.is_string(column.type) else column


def _number(name: str, text: str, row: int) -> float:
    found = number_of(text)
    if found is None:
        raise SchemaError(f"row {row}: {name} {text!r} is not a number")
    return found


def _without_repeats(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Rows that repeat another one to the letter stand once; what else bears its id is the catalogue's to refuse."""
    ids = table["clip_id"]
    if pc.count_distinct(ids).as_py() == len(ids):
        return table, []
    counts = pc.value_counts(ids)
    often = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    suspects = np.flatnonzero(pc.is_in(ids, often).to_numpy())
    seen: set[str] = set()
    keep = np.ones(len(ids), bool)
    for row, values in zip(suspects, table.take(suspects).to_pylist(), strict=True):
        keep[row] = repr(values) not in seen  # as text: NaN is itself here
        seen.add(repr(values))
    repeats = int((~keep).sum())
    return table.filter(pa.array(keep)), [f"{repeats} repeated rows left out"] if repeats else []
