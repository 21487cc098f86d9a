"""A folder of videos, searched through all its sub-folders."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyarrow import fs as pafs

from m3ray.datasets.listing import FolderClip, Listing, SkippedFiles
from m3ray.datasets.local_folder import ENDINGS, find_local_videos, find_named_local_videos, is_named_video
from m3ray.datasets.remote_folder import list_remote_files
from m3ray.errors import SchemaError
from m3ray.schema import CATALOGUE, LISTING, REJECTS
from m3ray.storage.filesystems import absolute_uri, is_local, one_line, retry_transient, stat_uri
from m3ray.storage.object_store import check_bucket

_CHUNK_ROWS = 10_000


def read_folder(root: str) -> Listing:
    r"""List every video below a folder; the `clip_id` is its path there.

    A file is a video by its ending, or else, where it is local, by its first bytes. A name that is not UTF-8 is kept in
    the `uri` percent-encoded, with `\xNN` in the `clip_id`. Links out of the folder are rejected (one that somebody
    else packed must not make a job read what lies elsewhere), and so are keys of S3 that no client can ask for.

    Args:
        root: path or URI of the folder.
    Returns:
        The clips ordered by id; the rejected ones are among them.
    Raises:
        SchemaError: If there is no such folder, or no video in it.
    """
    uri = absolute_uri(root).rstrip("/")
    fs, base, info = stat_uri(uri)
    if info.type != pafs.FileType.Directory:
        if uri.startswith("s3://"):
            check_bucket(uri, "--root")
        raise SchemaError(f"no folder at {uri}: give an existing folder of videos with --root")
    skipped = SkippedFiles()
    try:
        videos = find_local_videos(base, skipped) if is_local(uri) else _find_remote_videos(fs, base, uri, skipped)
        clips, rejected = _as_tables(videos)
    except OSError as error:
        raise SchemaError(f"{uri} cannot be listed: {one_line(error)}") from error
    if not clips.num_rows:
        raise SchemaError(
            f"{uri} holds no file named like a video ({', '.join(sorted(ENDINGS))}), and none that is one by its "
            f"content{''.join(f'; {note}' for note in skipped.notes())}"
        )
    return Listing(clips.sort_by("clip_id"), skipped.notes(), rejected=rejected)


def find_named_videos(folder: str) -> Iterator[str]:
    """Find every file below a folder that is named like a video, links followed.

    For data sets whose annotations name their videos: what is not named there is not read.

    Args:
        folder: path or URI of the folder.
    Yields:
        The URI of each file; nothing where there is no folder.
    """
    uri = absolute_uri(folder).rstrip("/")
    fs, base, info = stat_uri(uri)
    if info.type != pafs.FileType.Directory:
        return
    if is_local(uri):
        yield from find_named_local_videos(base)
    else:
        prefix = base.rstrip("/") + "/"
        files = (entry.path for entry in _list_below(fs, base) if entry.type == pafs.FileType.File)
        yield from (f"{uri}/{path.removeprefix(prefix)}" for path in files if is_named_video(path))


def _find_remote_videos(fs: pafs.FileSystem, base: str, uri: str, skipped: SkippedFiles) -> Iterator[FolderClip]:
    """Objects are videos by their names: looking into each would be a request each."""
    prefix = base.rstrip("/") + "/"
    files = list_remote_files(base, lambda folder: _list_folder(fs, folder), lambda folder: _list_below(fs, folder))
    for path, rejection in files:
        name = path.rstrip("/").rsplit("/", 1)[-1]
        if is_named_video(name):
            clip = path.removeprefix(prefix)
            yield FolderClip(clip, f"{uri}/{clip}", rejection)
        elif name.startswith("."):
            skipped.others["hidden"] += 1
        elif not path.endswith("/"):  # an empty folder's own object
            skipped.add(name)


def _list_folder(fs: pafs.FileSystem, folder: str) -> list[pafs.FileInfo]:
    return retry_transient(lambda: fs.get_file_info(pafs.FileSelector(folder)), fs)


def _list_below(fs: pafs.FileSystem, folder: str) -> list[pafs.FileInfo]:
    return retry_transient(lambda: fs.get_file_info(pafs.FileSelector(folder, recursive=True)), fs)


def _as_tables(videos: Iterator[FolderClip]) -> tuple[pa.Table, pa.Table]:
    """The clips as a catalogue, in chunks so that millions of paths fit, and the rejected ones as rejects."""
    empty = pa.schema([CATALOGUE.field(name) for name in ("clip_id", "uri")]).empty_table()
    parts, rejected, rows = [empty], [], []
    for video in videos:
        rows.append({"clip_id": video.clip_id, "uri": video.uri})
        if video.rejection is not None:
            rejected.append(_reject_row(video, *video.rejection))
        if len(rows) == _CHUNK_ROWS:
            parts.append(pa.Table.from_pylist(rows, schema=empty.schema))
            rows = []
    parts.append(pa.Table.from_pylist(rows, schema=empty.schema))
    return _add_empty_columns(pa.concat_tables(parts)), pa.Table.from_pylist(rejected, schema=REJECTS)


def _reject_row(video: FolderClip, reason: str, message: str) -> dict[str, str]:
    return {"clip_id": video.clip_id, "uri": video.uri, "stage": LISTING, "error": reason, "message": message}


def _add_empty_columns(table: pa.Table) -> pa.Table:
    """A folder tells neither splits nor scores nor labels."""
    count = table.num_rows
    for column in list(CATALOGUE)[2:]:
        empty = pa.array([[]] * count, column.type) if column.name == "labels" else pa.nulls(count, column.type)
        table = table.append_column(column, empty)
    return table
