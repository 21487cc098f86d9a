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
from m3ray.storage.dataset_folders import ChangeCheck
from m3ray.storage.filesystems import is_local, local_path, open_filesystem, printable_path, retry_transient

# Up to here every file is looked at (0.1 s, or 6 s over a slow network); beyond, every folder is read once.
EACH = 20_000
_READERS = 16
_BLOCK = 1 << 20
_DEEPEST = 100


def video_keys(uris: pa.ChunkedArray, by: ChangeCheck = "fast") -> pa.ChunkedArray:
    """Make a key a row that is the same where the video is the same.

    Local paths are resolved: dots, `file://` and its percent-encoding, linked folders and files, and up to `EACH` files
    hard links. Keys of S3 stay as they are, letter by letter.

    Args:
        uris: URI of each clip; null or empty where a clip has no video.
        by: "fast" compares paths; "hash" also takes files of the same size and SHA-256 for one video, for which those
            that share their size are read whole.
    Returns:
        Text, one a row; null where there is no URI.
    """
    rows = uris.cast(pa.large_string()).combine_chunks()
    unique = pc.unique(rows.filter(pc.not_equal(rows, "")).drop_null())
    keys = _resolve_paths(unique)
    if by == "hash":
        keys = _merge_equal_files(unique, keys)
    return pa.chunked_array([keys.take(pc.index_in(rows, unique))])


def number_videos(keys: pa.ChunkedArray) -> np.ndarray:
    """Number the videos of rows from 0; rows without a key are each a video of their own.

    Args:
        keys: key of each row's video, from `video_keys`; null where there is none.
    Returns:
        int64, (rows,).
    """
    unique = pc.unique(keys.drop_null())
    numbers = pc.fill_null(pc.index_in(keys, unique), -1).to_numpy().astype(np.int64)
    own = np.flatnonzero(numbers < 0)
    numbers[own] = len(unique) + np.arange(len(own))
    return numbers


def _resolve_paths(uris: pa.LargeStringArray) -> pa.LargeStringArray:
    """Local URIs as real paths, others as they are."""
    plain = pc.starts_with(uris, "/")
    rows = np.flatnonzero(pc.invert(plain).to_numpy(zero_copy_only=False))
    others = [(row, uri) for row, uri in zip(rows, uris.take(rows).to_pylist(), strict=True) if is_local(uri)]
    if others:
        paths = pa.array([printable_path(local_path(uri)) for _, uri in others], uris.type)
        uris = _replace_rows(uris, np.array([row for row, _ in others]), paths)
        plain = pc.starts_with(uris, "/")
    rows = np.flatnonzero(plain.to_numpy(zero_copy_only=False))
    return _replace_rows(uris, rows, _follow_links(_resolve_folders(uris.take(rows))))


def _replace_rows(values: pa.Array, rows: np.ndarray, replacements: pa.Array) -> pa.Array:
    mask = np.zeros(len(values), bool)
    mask[rows] = True
    return pc.replace_with_mask(values, pa.array(mask), replacements)


def _resolve_folders(paths: pa.LargeStringArray) -> pa.LargeStringArray:
    """Paths with the links and dots of their folders resolved, each folder once."""
    parts = pc.split_pattern(paths, "/", max_splits=1, reverse=True)
    # A path that ends in a dot or a slash is a folder: whatever it is, it is no file of its folder.
    named = pc.invert(pc.is_in(pc.list_element(parts, 1), pa.array(["", ".", ".."], paths.type)))
    folders = pc.if_else(named, pc.list_element(parts, 0), paths)
    cache: dict[str, str] = {"": ""}
    unique = pc.unique(folders)
    real = pa.array([printable_path(_real_folder(folder, cache)) for folder in unique.to_pylist()], paths.type)
    real = real.take(pc.index_in(folders, unique))
    files = pc.binary_join_element_wise(real, pc.list_element(parts, 1), pa.scalar("/", paths.type))
    return pc.if_else(named, files, real)


def _real_folder(folder: str, cache: dict[str, str]) -> str:
    """A folder's real path without the last slash, its parents' looked up: one look at the disk a folder."""
    if folder in cache:
        return cache[folder]
    parent, _, name = folder.rpartition("/")
    if folder.count("/") > _DEEPEST:
        real = os.path.realpath(folder).rstrip("/")
    elif name in ("", "."):
        real = _real_folder(parent, cache)
    elif name == "..":
        real = _real_folder(parent, cache).rpartition("/")[0]
    else:
        path = f"{_real_folder(parent, cache)}/{name}"
        real = os.path.realpath(path).rstrip("/") if os.path.islink(path) else path
    cache[folder] = real
    return real


def _follow_links(paths: pa.LargeStringArray) -> pa.LargeStringArray:
    """Paths with links to files resolved: each file looked at if they are few, else each folder listed."""
    if len(paths) <= EACH:
        return pa.array([_file_key(path) for path in paths.to_pylist()], paths.type)
    folders = pc.unique(pc.list_element(pc.split_pattern(paths, "/", max_splits=1, reverse=True), 0))
    links = pa.array([link for folder in folders.to_pylist() for link in _links_in(folder)], paths.type)
    links = links.filter(pc.is_in(links, paths))
    targets = pa.array([printable_path(os.path.realpath(link)) for link in links.to_pylist()], paths.type)
    return pc.coalesce(targets.take(pc.index_in(paths, links)), paths)


def _file_key(path: str) -> str:
    """A file's real path, or its inode where it has several names."""
    path = os.path.realpath(path) if os.path.islink(path) else path
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return printable_path(path)
    return f"inode {info.st_dev}:{info.st_ino}" if info.st_nlink > 1 else printable_path(path)


def _links_in(folder: str) -> Iterator[str]:
    """The links in a folder; none in one that is absent or closed to us."""
    try:
        with os.scandir(folder or "/") as entries:
            yield from (f"{folder}/{printable_path(entry.name)}" for entry in entries if entry.is_symlink())
    except (OSError, ValueError):
        return


def _merge_equal_files(uris: pa.LargeStringArray, keys: pa.LargeStringArray) -> pa.LargeStringArray:
    """Keys of files that share their bytes as size and hash, others as they are."""
    unique = pc.unique(keys)
    first = uris.take(pc.index_in(unique, keys)).to_pylist()
    with ThreadPoolExecutor(_READERS) as pool:
        sizes = list(pool.map(_read_size, first))
        counts = Counter(sizes)
        alike = [k for k, size in enumerate(sizes) if size is not None and counts[size] > 1]
        digests = dict(zip(alike, pool.map(_hash_file, [first[k] for k in alike]), strict=True))
    merged = [f"{sizes[k]} {digests[k]}" if digests.get(k) else key for k, key in enumerate(unique.to_pylist())]
    return pa.array(merged, keys.type).take(pc.index_in(keys, unique))


def _read_size(uri: str) -> int | None:
    """Bytes of a file; None for what cannot be looked at, or is no file."""
    try:
        fs, path = open_filesystem(uri)
        info = retry_transient(lambda: fs.get_file_info(path), fs)
    except (OSError, ValueError, ConfigError):
        return None
    return info.size if info.type == pafs.FileType.File else None


def _hash_file(uri: str) -> str | None:
    """SHA-256 of a file; None for one that cannot be read."""
    fs, path = open_filesystem(uri)

    def read() -> str:
        digest = hashlib.sha256()
        with fs.open_input_stream(path, compression=None) as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    try:
        return retry_transient(read, fs)
    except (OSError, ValueError):
        return None
