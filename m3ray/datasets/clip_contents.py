"""The catalogue's column that tells what each clip is, and what it is compared by."""

from __future__ import annotations

import json

import pyarrow as pa

from m3ray.schema import CATALOGUE_FILE, CONTENT, LEARNED_KEY
from m3ray.storage.contents import contents, stamps
from m3ray.storage.homes import UNKNOWN, Origin, known_homes
from m3ray.storage.root import Root

_HOMES_KEY = b"m3ray.homes"


def with_contents(clips: pa.Table, root: Root, origin: Origin = UNKNOWN) -> pa.Table:
    """The clips with the column `content`, which is `clip_content` beside a user's column of that name.

    The paths that the data set's folders are known by are noted with it: where a clip lies is part of what it is.
    """
    shown = CONTENT
    while shown in clips.column_names:
        shown = f"clip_{shown}"
    earlier = homes_of(root.read_schema(CATALOGUE_FILE)) if root.exists(CATALOGUE_FILE) else {}
    folders = json.dumps(known_homes(origin, earlier)).encode()
    column = pa.field(shown, pa.string(), metadata={LEARNED_KEY: CONTENT.encode(), _HOMES_KEY: folders})
    return clips.append_column(column, contents(clips["uri"], root.uri, origin.by))


def stamps_of(root: Root, catalogue: pa.Table) -> pa.ChunkedArray:
    """What each clip is now, to compare with what numbers were computed from; null where nothing is known of it.

    Args:
        root: holds the catalogue.
        catalogue: one of before contents were looked at has none.
    """
    known = next((catalogue[column.name] for column in catalogue.schema if is_content(column)), None)
    if known is None:
        return pa.chunked_array([pa.nulls(catalogue.num_rows, pa.string())])
    return stamps(known, catalogue["uri"], root.uri, homes_of(catalogue.schema))


def homes_of(schema: pa.Schema) -> dict[str, str]:
    """The data set's folders to the paths that they are known by, as a catalogue was made with them."""
    field = next((field for field in schema if is_content(field)), None)
    return {} if field is None else json.loads(field.metadata.get(_HOMES_KEY, b"{}"))


def has_contents(schema: pa.Schema) -> bool:
    """Whether a catalogue tells what its clips are; those of older versions do not."""
    return any(is_content(field) for field in schema)


def is_content(column: pa.Field) -> bool:
    """Whether a column of the catalogue tells what each clip is."""
    return (column.metadata or {}).get(LEARNED_KEY) == CONTENT.encode()
