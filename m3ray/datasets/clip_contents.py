"""The catalogue's column `content`: which bytes each clip was when it was listed, and what it is compared by."""

from __future__ import annotations

import json

import pyarrow as pa

from m3ray.schema import CONTENT, LEARNED_KEY
from m3ray.storage.catalogue_file import has_catalogue, read_catalogue_schema
from m3ray.storage.contents import find_contents, make_stamps
from m3ray.storage.dataset_folders import UNKNOWN_ORIGIN, DatasetOrigin, canonical_folders
from m3ray.storage.root import Root

_HOMES_KEY = b"m3ray.homes"


def add_contents(clips: pa.Table, root: Root, origin: DatasetOrigin = UNKNOWN_ORIGIN) -> pa.Table:
    """Add the column `content` to the clips; beside a user's column of that name it is `clip_content`.

    The paths that the data set's folders are known by are noted with it: where a clip lies is part of what it is.

    Args:
        clips: the catalogue's columns.
        root: root that may hold an earlier catalogue, whose folders are known by the paths that it notes.
        origin: where the data set lies, and by what its clips are known.
    Returns:
        The clips with the column, null where a file cannot be looked at.
    """
    shown = CONTENT
    while shown in clips.column_names:
        shown = f"clip_{shown}"
    earlier = read_canonical_folders(read_catalogue_schema(root)) if has_catalogue(root) else {}
    folders = json.dumps(canonical_folders(origin, earlier)).encode()
    column = pa.field(shown, pa.string(), metadata={LEARNED_KEY: CONTENT.encode(), _HOMES_KEY: folders})
    return clips.append_column(column, find_contents(clips["uri"], root.uri, origin.by))


def clip_stamps(root: Root, catalogue: pa.Table) -> pa.ChunkedArray:
    """Make the stamps of clips, to compare with those of what features were computed from.

    Args:
        root: root of the catalogue.
        catalogue: clips with the column that `add_contents` adds; older versions did not write it.
    Returns:
        One stamp a clip, text; null where nothing is known of its file.
    """
    content = next((catalogue[column.name] for column in catalogue.schema if is_content_column(column)), None)
    if content is None:
        return pa.chunked_array([pa.nulls(catalogue.num_rows, pa.string())])
    return make_stamps(content, catalogue["uri"], root.uri, read_canonical_folders(catalogue.schema))


def read_canonical_folders(schema: pa.Schema) -> dict[str, str]:
    """Read which paths the data set's folders are known by.

    Args:
        schema: columns of a catalogue, with their metadata.
    Returns:
        Each folder to the path that it was at first; empty for a catalogue of an older version.
    """
    field = next((field for field in schema if is_content_column(field)), None)
    return {} if field is None else json.loads(field.metadata.get(_HOMES_KEY, b"{}"))


def has_contents(schema: pa.Schema) -> bool:
    """Tell whether a catalogue says what its clips were when they were listed.

    Args:
        schema: columns of a catalogue, with their metadata.
    Returns:
        False for one of an older version.
    """
    return any(is_content_column(field) for field in schema)


def is_content_column(column: pa.Field) -> bool:
    """Tell whether a column is the one that `add_contents` adds, whatever it is called.

    Args:
        column: column of a catalogue, with its metadata.
    Returns:
        Whether it is marked so.
    """
    return (column.metadata or {}).get(LEARNED_KEY) == CONTENT.encode()
