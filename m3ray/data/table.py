"""A table of clips: CSV, Parquet or JSON lines with `uri`, optionally `clip_id`, `split`, `score`, `labels`."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from m3ray.data.catalogue import score_of
from m3ray.data.filesystems import absolute_uri, filesystem_of, retried
from m3ray.errors import SchemaError
from m3ray.schema import CATALOGUE

_READERS = {
    ".csv": lambda data: _plain(
        pd.read_csv(io.BytesIO(data), dtype={"clip_id": str, "score": str}, encoding="utf-8-sig")
    ),
    ".parquet": lambda data: pq.read_table(pa.BufferReader(data)).replace_schema_metadata(None),
    ".jsonl": lambda data: _plain(pd.read_json(io.BytesIO(data), lines=True, dtype={"clip_id": str})),
}


def list_table(root: str) -> pa.Table:
    """The clips of a table, as columns of the catalogue; further columns are kept.

    Raises:
        SchemaError: no such file, no `uri` column, an impossible score (the row is named).
    """
    uri = absolute_uri(root)
    table = _read(uri)
    if "uri" not in table.column_names:
        raise SchemaError(f"{uri} has no column uri; it has {', '.join(table.column_names)}")
    where = _text(table, "uri")
    if where.null_count:
        raise SchemaError(f"row {pc.index(pc.is_null(where), True).as_py() + 1}: uri is empty")
    columns = {
        "clip_id": pc.coalesce(_text(table, "clip_id"), where),
        "uri": _absolute(where, uri.rsplit("/", 1)[0]),
        "split": _text(table, "split"),
        "score": _scores(table),
        "labels": _labels(table),
    }
    columns |= {name: table[name] for name in table.column_names if name not in columns}
    return pa.table(columns)


def _read(uri: str) -> pa.Table:
    fs, path = filesystem_of(uri)
    if retried(lambda: fs.get_file_info(path), fs).type != pafs.FileType.File:
        raise SchemaError(f"no table at {uri}: give a .csv, .parquet or .jsonl file with --root")
    reader = _READERS.get("." + path.rsplit(".", 1)[-1].lower())
    if reader is None:
        raise SchemaError(f"{uri}: expected a name ending in {', '.join(_READERS)}")

    def read() -> bytes:
        with fs.open_input_stream(path) as stream:
            return stream.read()

    try:
        return reader(retried(read, fs))
    except (ValueError, OSError) as error:
        raise SchemaError(f"{uri} cannot be read: {error}") from error


def _plain(frame: pd.DataFrame) -> pa.Table:
    frame.columns = [str(name) for name in frame.columns]
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)


def _text(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column as trimmed text, null where it is empty or absent."""
    if name not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    trimmed = pc.utf8_trim_whitespace(table[name].cast(pa.string()))
    return pc.if_else(pc.equal(trimmed, ""), None, trimmed)


def _absolute(where: pa.ChunkedArray, folder: str) -> pa.ChunkedArray:
    placed = pc.or_(pc.match_substring(where, "://"), pc.starts_with(where, "/"))
    return pc.if_else(placed, where, pc.binary_join_element_wise(folder, where, "/"))


def _scores(table: pa.Table) -> pa.ChunkedArray:
    if "score" not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, pa.float64())])
    column = table["score"]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = _text(table, "score")
    try:
        scores = pc.cast(column, pa.float64())
    except pa.ArrowInvalid:
        scores = pa.chunked_array([[score_of(value, row) for row, value in enumerate(column.to_pylist(), start=1)]])
    scores = pc.if_else(pc.is_nan(scores), None, scores)
    outside = pc.or_(pc.less(scores, 0), pc.greater(scores, 1))
    if pc.any(outside).as_py():
        row = int(np.flatnonzero(pc.fill_null(outside, False).to_numpy())[0])
        score_of(scores[row].as_py(), row + 1)
    return scores


def _labels(table: pa.Table) -> pa.ChunkedArray:
    """Lists of strings, or text with | between."""
    kind = CATALOGUE.field("labels").type
    if "labels" not in table.column_names:
        return pa.chunked_array([pa.array([[]] * table.num_rows, kind)])
    column = table["labels"]
    if pa.types.is_null(column.type):
        return pa.chunked_array([pa.array([[]] * table.num_rows, kind)])
    # Row by row: labels are the one column whose cells come in several shapes.
    lists = (_label_list(cell.as_py(), row) for row, cell in enumerate(column, start=1))
    return pa.chunked_array([pa.array(lists, kind)])


def _label_list(value: Any, row: int) -> list[str]:
    if value is None or (isinstance(value, float) and value != value):
        return []
    if isinstance(value, str):
        return [part.strip() for part in value.split("|") if part.strip()]
    try:
        return [str(part) for part in value]
    except TypeError:
        raise SchemaError(f"row {row}: labels {value!r}; expected a list, or text with | between") from None
