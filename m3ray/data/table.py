"""A table of clips: CSV, Parquet or JSON lines with `uri`, optionally `clip_id`, `split`, `score`, `labels`."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
from pyarrow import fs as pafs

from m3ray.data.catalogue import score_of
from m3ray.data.store import absolute_uri, filesystem_of
from m3ray.errors import SchemaError
from m3ray.schema import Clip

OURS = ("clip_id", "uri", "split", "score", "labels")
_READERS = {
    ".csv": lambda data: pd.read_csv(io.BytesIO(data), dtype={"clip_id": str, "score": str}, encoding="utf-8-sig"),
    ".parquet": lambda data: pd.read_parquet(io.BytesIO(data)),
    ".jsonl": lambda data: pd.read_json(io.BytesIO(data), lines=True, dtype={"clip_id": str}),
}


def list_table(root: str) -> list[Clip]:
    """The clips of a table; further columns are kept.

    Raises:
        SchemaError: no such file, no `uri` column, an impossible score (the row is named).
    """
    uri = absolute_uri(root)
    frame = _read(uri)
    if "uri" not in frame.columns:
        raise SchemaError(f"{uri} has no column uri; it has {', '.join(map(str, frame.columns))}")
    folder = uri.rsplit("/", 1)[0]
    extra = [str(name) for name in frame.columns if name not in OURS]
    return [_clip(row, number, folder, extra) for number, row in enumerate(frame.to_dict("records"), start=1)]


def _read(uri: str) -> pd.DataFrame:
    fs, path = filesystem_of(uri)
    if fs.get_file_info(path).type != pafs.FileType.File:
        raise SchemaError(f"no table at {uri}: give a .csv, .parquet or .jsonl file with --root")
    reader = _READERS.get("." + path.rsplit(".", 1)[-1].lower())
    if reader is None:
        raise SchemaError(f"{uri}: expected a name ending in {', '.join(_READERS)}")
    with fs.open_input_stream(path) as stream:
        data = stream.read()
    try:
        return reader(data)
    except (ValueError, OSError) as error:
        raise SchemaError(f"{uri} cannot be read: {error}") from error


def _clip(row: dict[str, Any], number: int, folder: str, extra: list[str]) -> Clip:
    where = _text(row["uri"])
    if where is None:
        raise SchemaError(f"row {number}: uri is empty")
    return Clip(
        clip_id=_text(row.get("clip_id")) or where,
        uri=where if "://" in where or where.startswith("/") else f"{folder}/{where}",
        split=_text(row.get("split")),
        score=score_of(row.get("score"), number),
        labels=_labels(row.get("labels"), number),
        extra={name: None if _empty(row[name]) else row[name] for name in extra},
    )


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _text(value: Any) -> str | None:
    return None if _empty(value) or str(value).strip() == "" else str(value).strip()


def _labels(value: Any, number: int) -> tuple[str, ...]:
    if _empty(value):
        return ()
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split("|") if part.strip())
    try:
        return tuple(str(part) for part in value)
    except TypeError:
        raise SchemaError(f"row {number}: labels {value!r}; expected a list, or text with | between") from None
