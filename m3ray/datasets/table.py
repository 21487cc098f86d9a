"""A table of clips: CSV, Parquet or JSON lines with `uri`, optionally `clip_id`, `split`, `score`, `labels`."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs as pafs

from m3ray.datasets.clip_checks import parse_score
from m3ray.datasets.listing import Listing
from m3ray.datasets.memory_columns import read_memory_columns
from m3ray.errors import SchemaError
from m3ray.schema import CATALOGUE
from m3ray.storage.columns import (
    Sheet,
    as_numbers,
    as_text,
    check_names,
    is_missing_number,
    is_text,
    trim_text,
)
from m3ray.storage.csv_reading import read_csv_text
from m3ray.storage.filesystems import absolute_uri, is_local, local_path, one_line, retry_transient, stat_uri
from m3ray.storage.json_lines import read_json_lines
from m3ray.storage.parquet_file import read_parquet
from m3ray.storage.schemes import check_uris, lower_schemes

_READERS: dict[str, Callable[[bytes, str], Sheet]] = {
    ".csv": read_csv_text,
    ".parquet": read_parquet,
    ".jsonl": read_json_lines,
}
_SCHEME = r"^(?:[A-Za-z][A-Za-z0-9+.-]*://|file:/|/)"
_DOTS = r"(?:^|/)\.\.?(?:/|$)"


def read_table(root: str) -> Listing:
    """Read a table of clips; the user's further columns are kept as they are written.

    Those that tell what viewers did (`m3ray.datasets.memory_columns`) are read as numbers, under our names for them.
    Rows that repeat another one to the letter stand once.

    Args:
        root: path or URI of a .csv, .parquet or .jsonl file.
    Returns:
        The clips with the catalogue's columns and the user's, and what the user is told of them.
    Raises:
        SchemaError: If there is no such file, no column `uri` or only one whose name is nearly that, no row, or an
            impossible score, label or count; the message names the row.
    """
    uri = absolute_uri(root)
    sheet = _read_sheet(uri)
    _check_columns(sheet, uri)
    try:
        clips, memory_notes = _as_catalogue(sheet, uri)
        table, repeats = _drop_repeats(clips)
    except SchemaError as error:
        raise SchemaError(f"{uri}: {error}") from error
    notes = (*sheet.describe_skipped(), *_note_missing_scores(sheet.table), *memory_notes, *repeats)
    return Listing(table, tuple(f"table: {note}" for note in notes))


def _check_columns(sheet: Sheet, uri: str) -> None:
    names = sheet.table.column_names
    check_names(names, uri)
    if names and "uri" not in names:
        raise SchemaError(f"{uri} has no column uri; it has {', '.join(names)}")
    if not sheet.table.num_rows:
        why = "uri is empty in every row" if sheet.empty else "there is no row beneath its header"
        raise SchemaError(f"{uri} holds no clip: {why}; write one a clip")


def _read_sheet(uri: str) -> Sheet:
    fs, path, info = stat_uri(uri)
    if info.type != pafs.FileType.File:
        raise SchemaError(f"no table at {uri}: give a .csv, .parquet or .jsonl file with --root")
    reader = _READERS.get("." + path.rsplit(".", 1)[-1].lower())
    if reader is None:
        raise SchemaError(f"{uri}: expected a name ending in {', '.join(_READERS)}")

    def read() -> bytes:
        with fs.open_input_stream(path) as stream:
            return stream.read()

    try:
        return reader(retry_transient(read, fs), uri)
    except (OSError, ValueError) as error:
        raise SchemaError(f"{uri} cannot be read: {one_line(error)}") from error


def _as_catalogue(sheet: Sheet, uri: str) -> tuple[pa.Table, list[str]]:
    table, rows = sheet.table, sheet.rows
    uris = lower_schemes(_text_column(table, "uri"))
    if uris.null_count:
        empty = int(np.flatnonzero(pc.is_null(uris).to_numpy())[0])
        raise SchemaError(f"row {rows[empty]}: uri is empty")
    # Checked before a URI is put below a folder or shown: without its slashes it would pass for a name there.
    check_uris(uris, rows)
    columns = {
        "clip_id": pc.coalesce(_text_column(table, "clip_id"), uris),
        "uri": _make_absolute(uris, _folder(uri), rows),
        "split": _text_column(table, "split"),
        "score": _parse_scores(table, rows),
        "labels": _parse_labels(table, rows),
    }
    memory, notes = read_memory_columns(table, rows)
    # Programs that do not tell capitals apart must not see a name twice.
    kept = (name for name in table.column_names if name not in columns and name.lower() not in memory)
    return pa.table(columns | {name: _user_column(table[name]) for name in kept} | memory), notes


def _text_column(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column as trimmed text, null where it is empty or absent."""
    if name not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    return trim_text(as_text(table[name], name))


def _folder(uri: str) -> str:
    """The folder of a table, as a path where it is local: names beneath it are then taken as they stand."""
    return (local_path(uri) if is_local(uri) else uri).rsplit("/", 1)[0]


def _make_absolute(uris: pa.ChunkedArray, folder: str, rows: np.ndarray) -> pa.ChunkedArray:
    is_absolute = pc.match_substring_regex(uris, _SCHEME)
    absolute = pc.if_else(is_absolute, uris, pc.binary_join_element_wise(folder, uris, "/"))
    if is_local(folder):
        return absolute
    # Dots are steps in a relative path; in a key of S3 they are just letters, which no client can ask for.
    has_dots = pc.and_(pc.invert(is_absolute), pc.match_substring_regex(uris, _DOTS))
    if not pc.any(has_dots).as_py():
        return absolute
    values = zip(absolute.to_pylist(), has_dots.to_pylist(), rows.tolist(), strict=True)
    return pa.chunked_array([[_resolve_dots(uri, row) if dots else uri for uri, dots, row in values]])


def _resolve_dots(uri: str, row: int) -> str:
    scheme, _, path = uri.partition("://")
    bucket, _, key = path.partition("/")
    path = posixpath.normpath(key)
    if path.startswith(".."):
        raise SchemaError(f"row {row}: uri {uri} climbs out of its bucket: give the whole URI")
    return f"{scheme}://{bucket}/{path}"


def _parse_scores(table: pa.Table, rows: np.ndarray) -> pa.ChunkedArray:
    if "score" not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, pa.float64())])
    scores = as_numbers(table["score"], "score", rows, parse_score)
    outside = pc.or_(pc.less(scores, 0), pc.greater(scores, 1))
    if pc.any(outside).as_py():
        row = int(np.flatnonzero(pc.fill_null(outside, False).to_numpy())[0])
        parse_score(scores[row].as_py(), int(rows[row]))
    return scores


def _note_missing_scores(table: pa.Table) -> list[str]:
    """A line about scores that are words for none: a slip might hide among them."""
    if "score" not in table.column_names or not is_text(table["score"].type):
        return []
    count = pc.sum(is_missing_number(trim_text(table["score"].cast(pa.string())))).as_py() or 0
    return [f"{count} scores are NA, nan or the like, and taken for none"] if count else []


def _parse_labels(table: pa.Table, rows: np.ndarray) -> pa.ChunkedArray:
    """Lists of strings, from lists, from text with | between, or from numbers that are names."""
    kind = CATALOGUE.field("labels").type
    if "labels" not in table.column_names or pa.types.is_null(table["labels"].type):
        return pa.chunked_array([pa.array([[]] * table.num_rows, kind)])
    column = table["labels"]
    if any(test(column.type) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)):
        lists = [_parse_label_list(cell, row) for cell, row in zip(column.to_pylist(), rows.tolist(), strict=True)]
        return pa.chunked_array([pa.array(lists, kind)])
    # Few texts, many rows: each is taken apart once.
    texts = as_text(column, "labels").fill_null("")
    unique = pc.unique(texts)
    lists = [[part.strip() for part in text.split("|") if part.strip()] for text in unique.to_pylist()]
    return pa.chunked_array([pa.array(lists, kind).take(pc.index_in(texts, unique).combine_chunks())])


def _parse_label_list(cell: list[Any] | None, row: int) -> list[str]:
    return [label for label in (_parse_label(part, row) for part in cell or () if part is not None) if label]


def _parse_label(value: Any, row: int) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value).strip()
    raise SchemaError(f"row {row}: label {value!r}; expected text or a whole number")


def _user_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A user's column: text stays as it is written, null where a cell is empty."""
    return pc.if_else(pc.equal(column, ""), None, column) if pa.types.is_string(column.type) else column


def _drop_repeats(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Rows that repeat another one to the letter stand once; what else bears its id is left for `check_clips`."""
    ids = table["clip_id"]
    if pc.count_distinct(ids).as_py() == len(ids):
        return table, []
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    suspects = np.flatnonzero(pc.is_in(ids, repeated).to_numpy())
    seen: set[str] = set()
    keep = np.ones(len(ids), bool)
    for row, values in zip(suspects, table.take(suspects).to_pylist(), strict=True):
        keep[row] = repr(values) not in seen  # as text: NaN is itself here
        seen.add(repr(values))
    repeats = int((~keep).sum())
    return table.filter(pa.array(keep)), [f"{repeats} repeated rows left out"] if repeats else []
