"""A folder of videos, searched through all its sub-folders."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyarrow import fs as pafs

from m3ray.datasets.listing import Found, Listing, Passed
from m3ray.datasets.local_folder import ENDINGS, is_named_video, local_videos, named_local_videos
from m3ray.datasets.remote_folder import remote_files
from m3ray.errors import SchemaError
from m3ray.schema import CATALOGUE, LISTING, REJECTS
from m3ray.storage.filesystems import absolute_uri, is_local, looked_at, one_line, retried
from m3ray.storage.object_store import check_bucket

_CHUNK = 10_000


def list_folder(root: str) -> tuple[pa.Table, pa.Table]:
    """The clips of a folder and those that are refused, without what is to be said about them."""
    found = read_folder(root)
    return found.table, found.refused


def read_folder(root: str) -> Listing:
    """Every video below `root`; `clip_id` is its path there.

    A file is a video by its ending, or else, where it is local, by its first bytes. A name that is not UTF-8 is kept in
    the `uri` percent-encoded, with `\\xNN` in the `clip_id`. Refused are links out of the folder (one that somebody
    else packed must not make a job read what lies elsewhere) and keys of S3 that cannot be asked for.

    Raises:
        SchemaError: no such folder, or no video in it.
    """
    uri = absolute_uri(root).rstrip("/")
    fs, base, info = looked_at(uri)
    if info.type != pafs.FileType.Directory:
        if uri.startswith("s3://"):
            check_bucket(uri, "--root")
        raise SchemaError(f"no folder at {uri}: give an existing folder of videos with --root")
    passed = Passed()
    try:
        clips, refused = _tables(local_videos(base, passed) if is_local(uri) else _remote(fs, base, uri, passed))
    except OSError as error:
        raise SchemaError(f"{uri} cannot be listed: {one_line(error)}") from error
    if not clips.num_rows:
        raise SchemaError(
            f"{uri} holds no file named like a video ({', '.join(sorted(ENDINGS))}), and none that is one by its "
            f"content{''.join(f'; {note}' for note in passed.notes())}"
        )
    return Listing(clips.sort_by("clip_id"), passed.notes(), refused=refused)


def named_videos(folder: str) -> Iterator[str]:
    """The URI of every file below a folder that is named like a video, links followed; none where there is no folder.

    For data sets whose annotations name their videos: what is not named is not read.
    """
    uri = absolute_uri(folder).rstrip("/")
    fs, base, info = looked_at(uri)
    if info.type != pafs.FileType.Directory:
        return
    if is_local(uri):
        yield from named_local_videos(base)
    else:
        prefix = base.rstrip("/") + "/"
        files = (entry.path for entry in _listed_below(fs, base) if entry.type == pafs.FileType.File)
        yield from (f"{uri}/{path.removeprefix(prefix)}" for path in files if is_named_video(path))


def _remote(fs: pafs.FileSystem, base: str, uri: str, passed: Passed) -> Iterator[Found]:
    """Objects are videos by their names: looking into each would be a request each."""
    prefix = base.rstrip("/") + "/"
    files = remote_files(base, lambda folder: _listed(fs, folder), lambda folder: _listed_below(fs, folder))
    for path, refused in files:
        name = path.rstrip("/").rsplit("/", 1)[-1]
        if is_named_video(name):
            clip = path.removeprefix(prefix)
            yield Found(clip, f"{uri}/{clip}", refused)
        elif name.startswith("."):
            passed.others["hidden"] += 1
        elif not path.endswith("/"):  # an empty folder's own object
            passed.add(name)


def _listed(fs: pafs.FileSystem, folder: str) -> list[pafs.FileInfo]:
    return retried(lambda: fs.get_file_info(pafs.FileSelector(folder)), fs)


def _listed_below(fs: pafs.FileSystem, folder: str) -> list[pafs.FileInfo]:
    return retried(lambda: fs.get_file_info(pafs.FileSelector(folder, recursive=True)), fs)


def _tables(found: Iterator[Found]) -> tuple[pa.Table, pa.Table]:
    empty = pa.schema([CATALOGUE.field(name) for name in ("clip_id", "uri")]).empty_table()
    parts, refused, rows = [empty], [], []
    for clip in found:
        rows.append({"clip_id": clip.clip_id, "uri": clip.uri})
        if clip.refused is not None:
            refused.append(_reject(clip, *clip.refused))
        if len(rows) == _CHUNK:
            parts.append(pa.Table.from_pylist(rows, schema=empty.schema))
            rows = []
    parts.append(pa.Table.from_pylist(rows, schema=empty.schema))
    return _with_all_columns(pa.concat_tables(parts)), pa.Table.from_pylist(refused, schema=REJECTS)


def _reject(clip: Found, reason: str, message: str) -> dict[str, str]:
    return {"clip_id": clip.clip_id, "uri": clip.uri, "stage": LISTING, "error": reason, "message": message}


def _with_all_columns(table: pa.Table) -> pa.Table:
    count = table.num_rows
    for column in list(CATALOGUE)[2:]:
        empty = pa.array([[]] * count, column.type) if column.name == "labels" else pa.nulls(count, column.type)
        table = table.append_column(column, empty)
    return table
