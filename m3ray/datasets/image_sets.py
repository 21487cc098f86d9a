"""Parts that the readers of published image data sets share: annotation files, the images beside them, splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from m3ray.config import ReadConfig
from m3ray.datasets.clip_checks import parse_score
from m3ray.datasets.folder import find_named_videos
from m3ray.datasets.listing import Listing
from m3ray.datasets.memory_columns import read_memory_columns
from m3ray.datasets.published import drop_repeats, summarise_clips
from m3ray.datasets.published_splits import read_splits
from m3ray.errors import SchemaError
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.filesystems import absolute_uri
from m3ray.storage.root import Root

_MAX_NAMED = 10
_MAX_SEARCHED = 50  # folders that are looked into where the given one may be a level too high


@dataclass(frozen=True)
class ImageSet:
    """What a published data set of images is known by.

    Args:
        name: its name, as in `--dataset`.
        title: its name as its authors write it.
        files: paths, by parts, that its annotations are looked for at, the first that exists is read.
        inner: lower-case names of folders within it, which may be given in its place.
        images: path of the folder that its images are expected in.
        expected: what it must hold, in words, for the message.
    """

    name: str
    title: str
    files: tuple[tuple[str, ...], ...]
    inner: frozenset[str]
    images: tuple[str, ...]
    expected: str


@dataclass(frozen=True)
class Annotations:
    """Where a data set's annotations were found.

    Args:
        root: folder of the data set.
        parts: path of the file below it.
        notes: line for the user where that is another folder than the given one.
    """

    root: Root
    parts: tuple[str, ...]
    notes: tuple[str, ...] = ()


def find_annotations(source: str, images: ImageSet) -> Annotations:
    """Find a data set's annotations in the given folder, or in one a level or two higher or one level lower.

    Args:
        source: path or URI of the folder, or of the annotation file itself.
        images: the data set.
    Returns:
        Where they are.
    Raises:
        SchemaError: If there are none; the message says what is expected, and what there is.
    """
    uri = absolute_uri(source).rstrip("/")
    folder, _, name = uri.rpartition("/")
    endings = {parts[-1].rsplit(".", 1)[-1] for parts in images.files}
    if name.rsplit(".", 1)[-1].lower() in endings and "." in name:
        if not Root(folder).exists(name):
            raise SchemaError(f"no file at {source}: {_advise(images)}")
        return Annotations(Root(folder), (name,))
    for candidate in _candidate_folders(uri, images):
        root = Root(candidate)
        parts = next((parts for parts in images.files if root.exists(*parts)), None)
        if parts is not None:
            moved = () if candidate == uri else (f"{images.name}: read from {root.display(*parts)}",)
            return Annotations(root, parts, moved)
    names = Root(uri).list_names()
    shown = ", ".join(names[:_MAX_NAMED]) + (", ..." if len(names) > _MAX_NAMED else "")
    raise SchemaError(f"{source} holds no {images.expected}: {_advise(images)}; it has {shown or 'nothing'}")


def _advise(images: ImageSet) -> str:
    return f"give the folder of {images.title} with --root"


def _candidate_folders(uri: str, images: ImageSet) -> list[str]:
    """The folder itself, those above it while it is one within the data set, and those in it."""
    folders = [uri]
    while folders[-1].rsplit("/", 1)[-1].lower() in images.inner and folders[-1].count("/") > 1:
        folders.append(folders[-1].rsplit("/", 1)[0])
    below = [name for name in Root(uri).list_names() if "." not in name][:_MAX_SEARCHED]
    return [*folders, *(f"{uri}/{name}" for name in below)]


def parse_image_score(value: Any, where: str) -> float | None:
    """Convert a cell to a score.

    Args:
        value: the cell.
        where: where it stands, for the message.
    Returns:
        A score in [0, 1]; None for an empty cell.
    Raises:
        SchemaError: If it is something else.
    """
    try:
        return parse_score(value, 0)
    except SchemaError as error:
        raise SchemaError(f"{where}: {str(error).removeprefix('row 0: ')}") from error


def read_memory(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], what: str
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Read what viewers did from the columns of an annotation file that tell of it.

    Args:
        rows: cells of each row by column.
        names: names of the columns that tell of viewers.
        what: name of the file, for messages.
    Returns:
        For each row, the values of `m3ray.schema.MEMORY` that it tells; lines for the user.
    Raises:
        SchemaError: If a cell is no number, or an impossible one.
    """
    table = pa.table({name: pa.array([row[name] for row in rows]) for name in names}) if names else None
    if table is None:
        return [{} for _ in rows], ()
    try:
        columns, notes = read_memory_columns(table, np.arange(1, len(rows) + 1))
    except SchemaError as error:
        raise SchemaError(f"{what}: {error}") from error
    cells = {name: column.to_pylist() for name, column in columns.items()}
    return [{name: cells[name][k] for name in cells} for k in range(len(rows))], tuple(notes)


def build_listing(
    images: ImageSet, found: Annotations, clips: Sequence[Clip], read: ReadConfig, score: str, notes: Sequence[str]
) -> Listing:
    """Find the images of a data set's clips, and summarise both.

    Args:
        images: the data set.
        found: where its annotations are.
        clips: its clips; the `uri` of each is the image's path below the folder of images.
        read: the folder of the images if it is elsewhere (`videos`), a file of splits (`splits`).
        score: name of the column that the scores were taken from.
        notes: further lines for the user.
    Returns:
        The clips, and what the user is told of them.
    Raises:
        SchemaError: If the file of splits is wrong, or lacks a clip, or an image is named outside the folder.
    """
    _check_paths(images, clips)
    unique, repeats = drop_repeats(clips)
    if read.splits is not None:
        unique = assign_splits(unique, read.splits)
    located, missing = locate_images(unique, *_image_folders(images, found, read))
    summary = summarise_clips(images.name, located, missing, repeats, score, "images")
    return Listing(catalogue_table(located), (*summary, *found.notes, *notes), missing)


def _check_paths(images: ImageSet, clips: Sequence[Clip]) -> None:
    """Raise SchemaError where a path leads out of the folder: a missing image is looked for when it is decoded."""
    wrong = next((c.uri for c in clips if any(part in ("", ".", "..") for part in c.uri.split("/"))), None)
    if wrong is not None:
        raise SchemaError(f"{images.name}: {wrong!r} is no path of an image below the data set's folder")


def _image_folders(images: ImageSet, found: Annotations, read: ReadConfig) -> tuple[str, list[str]]:
    """The folder that images are expected in, and those that they are looked for below, in order."""
    if read.videos is not None:
        return absolute_uri(read.videos).rstrip("/"), [read.videos]
    home, above = found.root.uri, found.root.uri.rsplit("/", 1)
    folders = [home, above[0]] if above[-1].lower() in images.inner and above[0].count("/") > 1 else [home]
    return found.root.display(*images.images), folders


def locate_images(clips: Sequence[Clip], expected: str, folders: Sequence[str]) -> tuple[list[Clip], tuple[str, ...]]:
    """Give clips the URIs of their images.

    Args:
        clips: clips whose `uri` is the image's path below the folder of images.
        expected: URI of that folder; an image lies there, or anywhere below the others with the most of its path.
        folders: folders to look below; the first that has any of the images is taken.
    Returns:
        The clips with full URIs, and the paths of the images that are missing.
    """
    names = Counter(clip.uri.rsplit("/", 1)[-1].lower() for clip in clips)
    for folder in folders:
        index = _index_images(folder)
        uris = [_find_image(clip.uri, expected, index, names) for clip in clips]
        if any(uris):
            break
    missing = tuple(clip.uri for clip, uri in zip(clips, uris, strict=True) if uri is None)
    located = [replace(clip, uri=uri or f"{expected}/{clip.uri}") for clip, uri in zip(clips, uris, strict=True)]
    return located, missing


def _index_images(folder: str) -> dict[str, str]:
    """Images below a folder by their whole URI, and by the last one, two or three parts of it in lower case."""
    index: dict[str, str] = {}
    for uri in sorted(find_named_videos(folder, "images")):
        index[uri] = uri
        parts = uri.lower().rsplit("/", 3)
        for count in (1, 2, 3):
            index.setdefault("/".join(parts[-count:]), uri)
    return index


def _find_image(path: str, expected: str, index: Mapping[str, str], names: Mapping[str, int]) -> str | None:
    """The image with the most of a path's end; by its bare name only where no other image has that."""
    parts = path.lower().split("/")
    tails = ["/".join(parts[-count:]) for count in range(min(3, len(parts)), 0, -1)]
    if names[parts[-1]] > 1 and len(parts) > 1:
        tails.pop()
    return next((index[key] for key in (f"{expected}/{path}", *tails) if key in index), None)


def assign_splits(clips: Sequence[Clip], source: str) -> list[Clip]:
    """Give clips the splits that a file names.

    Args:
        clips: the clips.
        source: path of the file or folder, as `read_splits` takes it; it names images by path, by name, or by name
            without ending.
    Returns:
        The clips with their splits.
    Raises:
        SchemaError: If an image is in two splits, or one is in none.
    """
    by_key: dict[str, str] = {}
    for name, split in read_splits(source).items():
        if by_key.setdefault(_split_key(name), split) != split:
            raise SchemaError(f"{source}: {name} is in {by_key[_split_key(name)]} and in {split}: a leak; name it once")
    names = Counter(_split_key(clip.clip_id).rsplit("/", 1)[-1] for clip in clips)
    assigned = [replace(clip, split=_look_up(_split_key(clip.clip_id), by_key, names)) for clip in clips]
    lacking = [clip.clip_id for clip in assigned if clip.split is None]
    if lacking:
        raise SchemaError(f"{source} names no split for {len(lacking)} of {len(clips)} clips, {lacking[0]} among them")
    return assigned


def _split_key(name: str) -> str:
    return name.lower().replace("\\", "/").strip("/").rsplit(".", 1)[0]


def _look_up(key: str, by_key: Mapping[str, str], names: Mapping[str, int]) -> str | None:
    bare = key.rsplit("/", 1)[-1]
    return by_key.get(key) or (by_key.get(bare) if names[bare] == 1 else None)
