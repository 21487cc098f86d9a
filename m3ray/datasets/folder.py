"""A folder of videos and images, searched through all its sub-folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
from pyarrow import fs as pafs

from m3ray.config.datasets import Media
from m3ray.datasets.listing import FolderClip, Listing, SkippedFiles
from m3ray.datasets.local_folder import find_local_clips, find_named_local_videos
from m3ray.datasets.media import ENDINGS, IMAGE_ENDINGS, Kind, describe_media, named_kind
from m3ray.datasets.remote_folder import list_remote_files
from m3ray.errors import SchemaError
from m3ray.schema import CATALOGUE, LISTING, REJECTS
from m3ray.storage.filesystems import absolute_uri, is_local, one_line, retry_transient, stat_uri
from m3ray.storage.object_store import check_bucket

_CHUNK_ROWS = 10_000


def read_folder(root: str, media: Media = "all") -> Listing:
    r"""List every video and image below a folder; the `clip_id` is its path there.

    A file is a video or an image by its ending, or else, where it is local, by its first bytes. A name that is not
    UTF-8 is kept in the `uri` percent-encoded, with `\xNN` in the `clip_id`. Links out of the folder are rejected (one
    that somebody else packed must not make a job read what lies elsewhere), and so are keys of S3 that no client can
    ask for.

    Args:
        root: path or URI of the folder.
        media: kinds to list.
    Returns:
        The clips ordered by id; the rejected ones are among them.
    Raises:
        SchemaError: If there is no such folder, or no clip in it.
    """
    uri = absolute_uri(root).rstrip("/")
    fs, base, info = stat_uri(uri)
    if info.type != pafs.FileType.Directory:
        if uri.startswith("s3://"):
            check_bucket(uri, "--root")
        raise _no_folder_error(uri, is_file=info.type == pafs.FileType.File)
    skipped = SkippedFiles()
    try:
        if is_local(uri):
            found = find_local_clips(base, skipped, media)
        else:
            found = _find_remote_clips(fs, base, uri, skipped, media)
        clips, rejected, kinds = _as_tables(found)
    except OSError as error:
        raise SchemaError(f"{uri} cannot be listed: {one_line(error)}") from error
    if not clips.num_rows:
        raise _empty_error(uri, media, skipped)
    notes = (*describe_media([*kinds.items()], media), *skipped.notes())
    return Listing(clips.sort_by("clip_id"), notes, rejected=rejected)


def _no_folder_error(uri: str, *, is_file: bool) -> SchemaError:
    if not is_file:
        return SchemaError(f"no folder at {uri}: give an existing folder of videos or images with --root")
    advice = "give its folder, or say --dataset table for a table of clips"
    return SchemaError(f"no folder at {uri}, but a file: {advice}")


def _empty_error(uri: str, media: Media, skipped: SkippedFiles) -> SchemaError:
    names = {
        "videos": f"a video ({', '.join(sorted(ENDINGS))})",
        "images": f"an image ({', '.join(sorted(IMAGE_ENDINGS))})",
    }
    wanted = " or ".join(names.values()) if media == "all" else names[media]
    notes = "".join(f"; {note}" for note in skipped.notes())
    return SchemaError(f"{uri} holds no file named like {wanted}, and none that is one by its content{notes}")


def find_named_videos(folder: str, kind: Kind = "videos") -> Iterator[str]:
    """Find every file below a folder that is named like a video, or like an image, links followed.

    For data sets whose annotations name their videos: what is not named there is not read.

    Args:
        folder: path or URI of the folder.
        kind: what to find.
    Yields:
        The URI of each file; nothing where there is no folder.
    """
    uri = absolute_uri(folder).rstrip("/")
    fs, base, info = stat_uri(uri)
    if info.type != pafs.FileType.Directory:
        return
    if is_local(uri):
        yield from find_named_local_videos(base, kind)
    else:
        prefix = base.rstrip("/") + "/"
        files = (entry.path for entry in _list_below(fs, base) if entry.type == pafs.FileType.File)
        yield from (f"{uri}/{path.removeprefix(prefix)}" for path in files if named_kind(path) == kind)


def _find_remote_clips(
    fs: pafs.FileSystem, base: str, uri: str, skipped: SkippedFiles, media: Media
) -> Iterator[FolderClip]:
    """Objects are videos or images by their names: looking into each would be a request each."""
    prefix = base.rstrip("/") + "/"
    files = list_remote_files(base, lambda folder: _list_folder(fs, folder), lambda folder: _list_below(fs, folder))
    for path, rejection in files:
        name = path.rstrip("/").rsplit("/", 1)[-1]
        kind = named_kind(name)
        if kind is not None and media in ("all", kind):
            clip = path.removeprefix(prefix)
            yield FolderClip(clip, f"{uri}/{clip}", rejection, kind)
        elif kind is not None:
            skipped.leave_out(kind, media)
        elif name.startswith("."):
            skipped.others["hidden"] += 1
        elif not path.endswith("/"):  # an empty folder's own object
            skipped.add(name)


def _list_folder(fs: pafs.FileSystem, folder: str) -> list[pafs.FileInfo]:
    return retry_transient(lambda: fs.get_file_info(pafs.FileSelector(folder)), fs)


def _list_below(fs: pafs.FileSystem, folder: str) -> list[pafs.FileInfo]:
    return retry_transient(lambda: fs.get_file_info(pafs.FileSelector(folder, recursive=True)), fs)


def _as_tables(clips: Iterator[FolderClip]) -> tuple[pa.Table, pa.Table, Counter[Kind]]:
    """The clips as a catalogue, in chunks so that millions of paths fit; the rejected ones; how many of each kind."""
    empty = pa.schema([CATALOGUE.field(name) for name in ("clip_id", "uri")]).empty_table()
    kinds: Counter[Kind] = Counter()
    parts, rejected, rows = [empty], [], []
    for clip in clips:
        kinds[clip.kind] += 1
        rows.append({"clip_id": clip.clip_id, "uri": clip.uri})
        if clip.rejection is not None:
            rejected.append(_reject_row(clip, *clip.rejection))
        if len(rows) == _CHUNK_ROWS:
            parts.append(pa.Table.from_pylist(rows, schema=empty.schema))
            rows = []
    parts.append(pa.Table.from_pylist(rows, schema=empty.schema))
    return _add_empty_columns(pa.concat_tables(parts)), pa.Table.from_pylist(rejected, schema=REJECTS), kinds


def _reject_row(clip: FolderClip, reason: str, message: str) -> dict[str, str]:
    return {"clip_id": clip.clip_id, "uri": clip.uri, "stage": LISTING, "error": reason, "message": message}


def _add_empty_columns(table: pa.Table) -> pa.Table:
    """A folder tells neither splits nor scores nor labels."""
    count = table.num_rows
    for column in list(CATALOGUE)[2:]:
        empty = pa.array([[]] * count, column.type) if column.name == "labels" else pa.nulls(count, column.type)
        table = table.append_column(column, empty)
    return table
