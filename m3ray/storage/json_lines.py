"""JSON lines, one object a clip, numbers as they are written: an id of twenty digits keeps them all."""

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
# 7.0 is the 7 of a column that some program held as floats.
_WHOLE = re.compile(r"(-?\d+)\.0+")


class _Literal(str):
    """A number as it stands in the file."""

    __slots__ = ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"one of {', '.join(name for name, _ in pairs)} stands twice in an object")
    return found


def _constant(text: str) -> _Literal | None:
    return None if text == "NaN" else _Literal(text)


_DECODER = json.JSONDecoder(
    parse_int=_Literal, parse_float=_Literal, parse_constant=_constant, object_pairs_hook=_object
)


def read_json_lines(data: bytes, where: str) -> Sheet:
    """The columns of a file of JSON objects, one a line; empty lines are passed over.

    Raises:
        SchemaError: no UTF-8, a line that is no object, or an id that is neither text nor number; the row is named.
    """
    columns: dict[str, list[Any]] = {}
    rows: list[int] = []
    empty: list[int] = []
    try:
        for row, line in enumerate(io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="\n"), start=1):
            if line.strip():
                _append(columns, _parsed(line, f"{where}: row {row}"), len(rows))
            (rows if line.strip() else empty).append(row)
    except UnicodeDecodeError as error:
        raise SchemaError(f"{where} cannot be read: it is no UTF-8 text ({error}): save it as UTF-8") from error
    arrays = {name: _array(name, _filled(values, len(rows)), rows, where) for name, values in columns.items()}
    return Sheet(pa.table(arrays), np.array(rows, np.int64), tuple(empty))


def _append(columns: dict[str, list[Any]], entry: dict[str, Any], row: int) -> None:
    """Puts an object's values beneath their names; a column that earlier rows lack is null there."""
    for name, value in entry.items():
        name = name.strip()
        values = columns.setdefault(name, [])
        if len(values) > row:
            raise SchemaError(f"an object names {name!r} twice, but for spaces: rename one")
        _filled(values, row).append(value)


def _filled(values: list[Any], rows: int) -> list[Any]:
    values.extend([None] * (rows - len(values)))
    return values


def _parsed(line: str, where: str) -> dict[str, Any]:
    try:
        found = _DECODER.decode(line.strip())
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{where} is no JSON: {error}; expected one object a line") from error
    if not isinstance(found, dict):
        raise SchemaError(f"{where} is {line.strip()[:40]!r}; expected one object a line")
    return found


def _array(name: str, values: list[Any], rows: list[int], where: str) -> pa.Array:
    if name in (*_TEXTS, "score"):
        return pa.array([_text(value, where, name, row) for value, row in zip(values, rows, strict=True)], pa.string())
    if name == "labels":
        lists = [_labels(value, where, row) for value, row in zip(values, rows, strict=True)]
        return pa.array(lists, CATALOGUE.field("labels").type)
    return _own(values)


def _text(value: Any, where: str, name: str, row: int) -> str | None:
    """Text as it stands, a number as it is written; `7.0` as the 7 that some program made a float of."""
    if value is None or type(value) is str:
        return value
    if not isinstance(value, _Literal):
        found = json.dumps(_plain(value))[:60]
        raise SchemaError(f"{where}: row {row}: {name} is {found}, expected text or a number")
    whole = _WHOLE.fullmatch(value)
    return whole[1] if whole else str(value)


def _labels(value: Any, where: str, row: int) -> list[str]:
    """A list of texts and numbers, or text with | between."""
    if isinstance(value, list):
        parts = [_text(part, where, "a label", row) or "" for part in value]
    else:
        parts = (_text(value, where, "labels", row) or "").split("|")
    return [part.strip() for part in parts if part.strip()]


def _own(values: list[Any]) -> pa.Array:
    """A user's column: the type that its values have, or text as they are written where they have several."""
    try:
        return pa.array([_plain(value) for value in values])
    except (pa.ArrowException, ValueError, OverflowError):
        return pa.array([_written(value) for value in values], pa.string())


def _plain(value: Any) -> Any:
    if isinstance(value, _Literal):
        return int(value) if value.lstrip("-").isdigit() else float(value)
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return {key: _plain(entry) for key, entry in value.items()} if isinstance(value, dict) else value


def _written(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    return json.dumps(_plain(value), ensure_ascii=False)
