"""A folder of videos, searched through all its sub-folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import fs as pafs

from m3ray.data.filesystems import absolute_uri, filesystem_of, is_local, retried
from m3ray.errors import SchemaError
from m3ray.schema import CATALOGUE, LISTING, REJECTS

ENDINGS = frozenset("mp4 m4v mov mkv webm avi ts m2ts mts mpg mpeg vob gif 3gp".split())  # noqa: SIM905
_CHUNK = 10_000


def list_folder(root: str) -> tuple[pa.Table, pa.Table]:
    """Every file below `root` that is named like a video; `clip_id` is its path below `root`.

    A name that is not UTF-8 is kept in the `uri` percent-encoded, with `\\xNN` in the `clip_id`.

    Returns:
        The clips, as columns of the catalogue; those of them that are links out of the folder, as rows of rejects:
        a folder that somebody else packed must not make a job read what lies elsewhere.
    Raises:
        SchemaError: no such folder, or nothing in it is named like a video.
    """
    uri = absolute_uri(root).rstrip("/")
    fs, base = filesystem_of(uri)
    if retried(lambda: fs.get_file_info(base), fs).type != pafs.FileType.Directory:
        raise SchemaError(f"no folder at {uri}: give an existing folder of videos with --root")
    found = _local(base) if is_local(uri) else ((path, f"{uri}/{path}", None) for path in _remote(fs, base))
    clips, refused = _tables(found)
    if not clips.num_rows:
        endings = ", ".join(sorted(ENDINGS))
        raise SchemaError(f"{uri} holds no file named like a video ({endings})")
    return clips.sort_by("clip_id"), refused


def is_named_video(path: str) -> bool:
    """Whether a file is named like a video, and not hidden."""
    name = path.rsplit("/", 1)[-1]
    return not name.startswith(".") and name.rsplit(".", 1)[-1].lower() in ENDINGS


def _local(base: str) -> Iterator[tuple[str, str, str | None]]:
    """Id, URI, and where a link that leaves the folder points to."""
    home = os.path.realpath(base)
    for folder, below, names in os.walk(base):
        below[:] = sorted(name for name in below if not name.startswith("."))
        linked = [name for name in below if os.path.islink(os.path.join(folder, name))]
        for name in [*names, *linked]:
            if is_named_video(name):
                yield _local_clip(base, home, os.path.join(folder, name))


def _local_clip(base: str, home: str, path: str) -> tuple[str, str, str | None]:
    target = os.path.realpath(path) if os.path.islink(path) else path
    inside = target is path or target.startswith(home.rstrip("/") + "/")
    name, uri = path[len(base.rstrip("/")) + 1 :], path
    try:
        name.encode()
    except UnicodeEncodeError:
        name = os.fsencode(name).decode(errors="backslashreplace")
        uri = Path(path).as_uri()
    return name, uri, None if inside else os.fsencode(target).decode(errors="backslashreplace")


def _remote(fs: pafs.FileSystem, base: str) -> Iterator[str]:
    """Paths below `base`, a folder at a time, so that memory holds the largest one and not all."""
    prefix, folders = base.rstrip("/") + "/", [base]
    while folders:
        for info in _listed(fs, folders.pop()):
            if info.type == pafs.FileType.Directory:
                folders.append(info.path)
            elif is_named_video(info.path):
                yield info.path.removeprefix(prefix)


def _listed(fs: pafs.FileSystem, folder: str) -> list[pafs.FileInfo]:
    return retried(lambda: fs.get_file_info(pafs.FileSelector(folder)), fs)


def _tables(found: Iterator[tuple[str, str, str | None]]) -> tuple[pa.Table, pa.Table]:
    columns = ("clip_id", "uri")
    empty = pa.schema([CATALOGUE.field(name) for name in columns]).empty_table()
    parts, refused, rows = [empty], [], []
    for name, uri, leaves in found:
        rows.append({"clip_id": name, "uri": uri})
        if leaves is not None:
            refused.append(_refused(name, uri, leaves))
        if len(rows) == _CHUNK:
            parts.append(pa.Table.from_pylist(rows, schema=empty.schema))
            rows = []
    parts.append(pa.Table.from_pylist(rows, schema=empty.schema))
    return _with_all_columns(pa.concat_tables(parts)), pa.Table.from_pylist(refused, schema=REJECTS)


def _refused(name: str, uri: str, target: str) -> dict[str, str]:
    message = f"a link to {target}, outside the folder: copy the file in, or list it in a table (--dataset table)"
    return {"clip_id": name, "uri": uri, "stage": LISTING, "error": "link_outside", "message": message}


def _with_all_columns(table: pa.Table) -> pa.Table:
    count = table.num_rows
    for field in list(CATALOGUE)[2:]:
        empty = pa.array([[]] * count, field.type) if field.name == "labels" else pa.nulls(count, field.type)
        table = table.append_column(field, empty)
    return table
