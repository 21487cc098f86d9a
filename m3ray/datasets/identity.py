"""Which rows are one video, however it is spelled: `a.mp4`, `./a.mp4`, `sub/../a.mp4`, `file:///v/a.mp4`, a link."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs as pafs

from m3ray.errors import ConfigError
from m3ray.storage.filesystems import as_text, filesystem_of, is_local, local_path, retried
from m3ray.storage.homes import By

# Up to here every file is looked at (0.1 s, or 6 s over a slow network); beyond, every folder is read once.
EACH = 20_000
_READERS = 16
_BLOCK = 1 << 20
_DEEPEST = 100


def video_keys(uris: pa.ChunkedArray, by: By = "fast") -> pa.ChunkedArray:
    """A text a row, the same where the video is the same; null where there is no URI.

    Local paths are resolved: dots, `file://` and its percent-encoding, linked folders and files, and up to `EACH` files
    hard links. Keys of S3 stay as they are, letter by letter.

    Args:
        uris: of the catalogue.
        by: hash: also files of the same size and SHA-256; those that share their size are read whole.
    """
    given = uris.cast(pa.large_string()).combine_chunks()
    known = pc.unique(given.filter(pc.not_equal(given, "")).drop_null())
    keys = _paths(known)
    if by == "hash":
        keys = _contents(known, keys)
    return pa.chunked_array([keys.take(pc.index_in(given, known))])


def numbered(keys: pa.ChunkedArray) -> np.ndarray:
    """The number of each row's video, from 0; rows without a key are each a video of their own. int64, (rows,)."""
    known = pc.unique(keys.drop_null())
    numbers = pc.fill_null(pc.index_in(keys, known), -1).to_numpy().astype(np.int64)
    own = np.flatnonzero(numbers < 0)
    numbers[own] = len(known) + np.arange(len(own))
    return numbers


def _paths(uris: pa.LargeStringArray) -> pa.LargeStringArray:
    """Local URIs as real paths, others as they are."""
    plain = pc.starts_with(uris, "/")
    rows = np.flatnonzero(pc.invert(plain).to_numpy(zero_copy_only=False))
    others = [(row, uri) for row, uri in zip(rows, uris.take(rows).to_pylist(), strict=True) if is_local(uri)]
    if others:
        paths = pa.array([as_text(local_path(uri)) for _, uri in others], uris.type)
        uris = _replaced(uris, np.array([row for row, _ in others]), paths)
        plain = pc.starts_with(uris, "/")
    rows = np.flatnonzero(plain.to_numpy(zero_copy_only=False))
    return _replaced(uris, rows, _followed(_in_real_folders(uris.take(rows))))


def _replaced(values: pa.Array, rows: np.ndarray, by: pa.Array) -> pa.Array:
    mask = np.zeros(len(values), bool)
    mask[rows] = True
    return pc.replace_with_mask(values, pa.array(mask), by)


def _in_real_folders(paths: pa.LargeStringArray) -> pa.LargeStringArray:
    """Paths with the links and dots of their folders resolved, each folder once."""
    parts = pc.split_pattern(paths, "/", max_splits=1, reverse=True)
    # A path that ends in a dot or a slash is a folder: whatever it is, it is no file of its folder.
    named = pc.invert(pc.is_in(pc.list_element(parts, 1), pa.array(["", ".", ".."], paths.type)))
    folders = pc.if_else(named, pc.list_element(parts, 0), paths)
    known: dict[str, str] = {"": ""}
    unique = pc.unique(folders)
    real = pa.array([as_text(_real(folder, known)) for folder in unique.to_pylist()], paths.type)
    real = real.take(pc.index_in(folders, unique))
    joined = pc.binary_join_element_wise(real, pc.list_element(parts, 1), pa.scalar("/", paths.type))
    return pc.if_else(named, joined, real)


def _real(folder: str, known: dict[str, str]) -> str:
    """A folder's real path without the last slash, its parents' looked up: one look at the disk a folder."""
    if folder in known:
        return known[folder]
    parent, _, name = folder.rpartition("/")
    if folder.count("/") > _DEEPEST:
        found = os.path.realpath(folder).rstrip("/")
    elif name in ("", "."):
        found = _real(parent, known)
    elif name == "..":
        found = _real(parent, known).rpartition("/")[0]
    else:
        path = f"{_real(parent, known)}/{name}"
        found = os.path.realpath(path).rstrip("/") if os.path.islink(path) else path
    known[folder] = found
    return found


def _followed(paths: pa.LargeStringArray) -> pa.LargeStringArray:
    if len(paths) <= EACH:
        return pa.array([_file(path) for path in paths.to_pylist()], paths.type)
    folders = pc.unique(pc.list_element(pc.split_pattern(paths, "/", max_splits=1, reverse=True), 0))
    links = pa.array([link for folder in folders.to_pylist() for link in _links(folder)], paths.type)
    links = links.filter(pc.is_in(links, paths))
    targets = pa.array([as_text(os.path.realpath(link)) for link in links.to_pylist()], paths.type)
    return pc.coalesce(targets.take(pc.index_in(paths, links)), paths)


def _file(path: str) -> str:
    """A file's real path, or its inode where it has several names."""
    path = os.path.realpath(path) if os.path.islink(path) else path
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return as_text(path)
    return f"inode {facts.st_dev}:{facts.st_ino}" if facts.st_nlink > 1 else as_text(path)


def _links(folder: str) -> Iterator[str]:
    """The links in a folder; none in one that is absent or closed to us."""
    try:
        with os.scandir(folder or "/") as entries:
            yield from (f"{folder}/{as_text(entry.name)}" for entry in entries if entry.is_symlink())
    except (OSError, ValueError):
        return


def _contents(uris: pa.LargeStringArray, keys: pa.LargeStringArray) -> pa.LargeStringArray:
    """Keys of files that share their bytes as size and hash, others as they are."""
    known = pc.unique(keys)
    first = uris.take(pc.index_in(known, keys)).to_pylist()
    with ThreadPoolExecutor(_READERS) as pool:
        sizes = list(pool.map(_size, first))
        counts = Counter(sizes)
        alike = [k for k, size in enumerate(sizes) if size is not None and counts[size] > 1]
        digests = dict(zip(alike, pool.map(_digest, [first[k] for k in alike]), strict=True))
    found = [f"{sizes[k]} {digests[k]}" if digests.get(k) else key for k, key in enumerate(known.to_pylist())]
    return pa.array(found, keys.type).take(pc.index_in(keys, known))


def _size(uri: str) -> int | None:
    """Bytes of a file; None for what cannot be looked at, or is no file."""
    try:
        fs, path = filesystem_of(uri)
        info = retried(lambda: fs.get_file_info(path), fs)
    except (OSError, ValueError, ConfigError):
        return None
    return info.size if info.type == pafs.FileType.File else None


def _digest(uri: str) -> str | None:
    fs, path = filesystem_of(uri)

    def read() -> str:
        digest = hashlib.sha256()
        with fs.open_input_stream(path, compression=None) as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    try:
        return retried(read, fs)
    except (OSError, ValueError):
        return None
