"""The files of user-provided tiers, read into ids as they are written and columns of numbers or vectors."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from m3ray.errors import SchemaError
from m3ray.storage.columns import as_numbers, as_text, check_names, parse_number
from m3ray.storage.csv_reading import read_csv_text
from m3ray.storage.filesystems import one_line
from m3ray.storage.parquet_file import read_parquet
from m3ray.storage.vector_columns import column_values

_EXPECTED_NAMES = ("clip_id",)
_BOOLEANS = {"true": 1.0, "false": 0.0}
# The exceptions that NumPy lets through for a damaged archive.
_DAMAGED = (ValueError, OSError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class TierFile:
    """The content of a user-provided tier's file.

    Args:
        ids: ids of the clips as they are written, (N,).
        columns: column name to its values, (N,) or (N, width), of the type that the file has.
        notes: sentences for the user on what of the file was left out.
    """

    ids: tuple[str, ...]
    columns: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()


def read_tier_file(data: bytes, where: str, ending: str) -> TierFile:
    """Read the ids and columns of a tier's file.

    Args:
        data: content of the file.
        where: path or URI of the file, for messages.
        ending: format of the file, one of `READERS`.
    Raises:
        SchemaError: If it cannot be read, has no `clip_id`, a row without an id, or columns of different lengths.
    """
    try:
        ids, columns, notes = READERS[ending](data, where)
    except _DAMAGED as error:
        raise SchemaError(f"{where} cannot be read: {one_line(error)}") from error
    filled = tuple(name for name in ids if name)
    if len(filled) < len(ids):
        raise SchemaError(f"{where}: row {next(k for k, name in enumerate(ids, 1) if not name)}: clip_id is empty")
    uneven = next((name for name, values in columns.items() if len(values) != len(ids)), None)
    if uneven is not None:
        raise SchemaError(f"{where}: {uneven} has {len(columns[uneven])} rows, clip_id has {len(ids)}")
    return TierFile(filled, columns, notes)


_Content = tuple[list[str | None], dict[str, np.ndarray], tuple[str, ...]]


def _check_columns(names: list[str], where: str) -> None:
    check_names(names, where, _EXPECTED_NAMES)
    if "clip_id" not in names:
        raise SchemaError(f"{where} has no clip_id; it has {', '.join(names) or 'nothing'}")


def _from_parquet(data: bytes, where: str) -> _Content:
    sheet = read_parquet(data, where, _EXPECTED_NAMES)
    _check_columns(sheet.table.column_names, where)
    ids = as_text(sheet.table["clip_id"], f"{where}: clip_id").to_pylist()
    others = sheet.table.drop_columns("clip_id")
    return ids, {name: _values(others[name].combine_chunks()) for name in others.column_names}, sheet.describe_skipped()


def _values(column: pa.Array) -> np.ndarray:
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        widths = set(column.value_lengths().to_pylist())
        if len(widths) != 1 or None in widths:
            raise ValueError(f"vectors of different lengths ({', '.join(map(str, sorted(widths, key=str)[:4]))}, ...)")
    return column_values(column)


def _from_csv(data: bytes, where: str) -> _Content:
    sheet = read_csv_text(data, where)
    _check_columns(sheet.table.column_names, where)
    others = sheet.table.drop_columns("clip_id")
    columns = {
        name: as_numbers(others[name], name, sheet.rows, partial(_number, where, name)).to_numpy()
        for name in others.column_names
    }
    return sheet.table["clip_id"].to_pylist(), columns, sheet.describe_skipped()


def _number(where: str, name: str, text: str, row: int) -> float:
    number = _BOOLEANS.get(text.lower(), parse_number(text))
    if number is None:
        raise SchemaError(
            f"{where}: column {name} is text ({text!r} in row {row}), expected numbers: drop it or encode it"
        )
    return number


def _from_npz(data: bytes, where: str) -> _Content:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        columns: dict[str, Any] = {name: np.atleast_1d(arrays[name]) for name in arrays.files}
    _check_columns(list(columns), where)
    return _ids(columns.pop("clip_id"), f"{where}: clip_id"), columns, ()


def _ids(values: np.ndarray, what: str) -> list[str | None]:
    if values.ndim != 1:
        raise SchemaError(f"{what} has the shape {values.shape}, expected one id a clip")
    if values.dtype.kind == "S":
        return [value.decode() for value in values.tolist()]
    return as_text(pa.chunked_array([pa.array(values)]), what).to_pylist()


READERS: dict[str, Callable[[bytes, str], _Content]] = {"parquet": _from_parquet, "csv": _from_csv, "npz": _from_npz}
