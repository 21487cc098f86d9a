"""Reading of JSON lines, one object a clip, with numbers as they are written: an id of twenty digits keeps them all."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import numpy as np
import pyarrow as pa

from m3ray.errors import SchemaError
from m3ray.schema import CATALOGUE
from m3ray.storage.columns import Sheet

_TEXTS = ("clip_id", "uri", "split")
# A program that held the column as floats writes 7 as 7.0.
_WHOLE = re.compile(r"(-?\d+)\.0+")


class _Literal(str):
    """A number as the file has it."""

    __slots__ = ()


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError(f"one of {', '.join(name for name, _ in pairs)} occurs twice in an object")
    return values


def _parse_constant(text: str) -> _Literal | None:
    return None if text == "NaN" else _Literal(text)


_DECODER = json.JSONDecoder(
    parse_int=_Literal, parse_float=_Literal, parse_constant=_parse_constant, object_pairs_hook=_make_object
)


def read_json_lines(data: bytes, where: str) -> Sheet:
    """Read the columns of a file with a JSON object a line; empty lines are skipped.

    Args:
        data: bytes of the file, UTF-8.
        where: the file, for messages.
    Returns:
        The columns: ids, URIs, splits and scores as text, labels as lists, others of the types that their values have.
    Raises:
        SchemaError: If it is no UTF-8, a line is no object, or an id is neither text nor number; the row is named.
    """
    columns: dict[str, list[Any]] = {}
    rows: list[int] = []
    empty: list[int] = []
    try:
        for row, line in enumerate(io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="\n"), start=1):
            if line.strip():
                _append(columns, _parse_line(line, f"{where}: row {row}"), len(rows))
            (rows if line.strip() else empty).append(row)
    except UnicodeDecodeError as error:
        raise SchemaError(f"{where} cannot be read: it is no UTF-8 text ({error}): save it as UTF-8") from error
    arrays = {name: _make_array(name, _pad(values, len(rows)), rows, where) for name, values in columns.items()}
    return Sheet(pa.table(arrays), np.array(rows, np.int64), tuple(empty))


def _append(columns: dict[str, list[Any]], entry: dict[str, Any], row: int) -> None:
    """Append an object's values to their columns; a column that earlier rows lack is null there."""
    for key, value in entry.items():
        name = key.strip()
        values = columns.setdefault(name, [])
        if len(values) > row:
            raise SchemaError(f"an object names {name!r} twice, but for spaces: rename one")
        _pad(values, row).append(value)


def _pad(values: list[Any], rows: int) -> list[Any]:
    values.extend([None] * (rows - len(values)))
    return values


def _parse_line(line: str, where: str) -> dict[str, Any]:
    try:
        values = _DECODER.decode(line.strip())
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{where} is no JSON: {error}; expected one object a line") from error
    if not isinstance(values, dict):
        raise SchemaError(f"{where} is {line.strip()[:40]!r}; expected one object a line")
    return values


def _make_array(name: str, values: list[Any], rows: list[int], where: str) -> pa.Array:
    if name in (*_TEXTS, "score"):
        texts = [_as_text(value, where, name, row) for value, row in zip(values, rows, strict=True)]
        return pa.array(texts, pa.string())
    if name == "labels":
        lists = [_as_labels(value, where, row) for value, row in zip(values, rows, strict=True)]
        return pa.array(lists, CATALOGUE.field("labels").type)
    return _make_user_array(values)


def _as_text(value: Any, where: str, name: str, row: int) -> str | None:
    """Convert a value to text: text as it is, a number as it is written, but `7.0` to `7`."""
    if value is None or type(value) is str:
        return value
    if not isinstance(value, _Literal):
        text = json.dumps(_without_literals(value))[:60]
        raise SchemaError(f"{where}: row {row}: {name} is {text}, expected text or a number")
    whole = _WHOLE.fullmatch(value)
    return whole[1] if whole else str(value)


def _as_labels(value: Any, where: str, row: int) -> list[str]:
    """Convert a list of texts and numbers, or a text with | between, to labels."""
    if isinstance(value, list):
        parts = [_as_text(part, where, "a label", row) or "" for part in value]
    else:
        parts = (_as_text(value, where, "labels", row) or "").split("|")
    return [part.strip() for part in parts if part.strip()]


def _make_user_array(values: list[Any]) -> pa.Array:
    """Make a user's own column, of the type that its values have, or of text if they have several."""
    try:
        return pa.array([_without_literals(value) for value in values])
    except (pa.ArrowException, ValueError, OverflowError):
        return pa.array([_as_written(value) for value in values], pa.string())


def _without_literals(value: Any) -> Any:
    if isinstance(value, _Literal):
        return int(value) if value.lstrip("-").isdigit() else float(value)
    if isinstance(value, list):
        return [_without_literals(entry) for entry in value]
    return {key: _without_literals(entry) for key, entry in value.items()} if isinstance(value, dict) else value


def _as_written(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    return json.dumps(_without_literals(value), ensure_ascii=False)
