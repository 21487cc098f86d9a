"""The content of a clip, so that a file or object that changed under the same name is computed again.

A *content* is text, `SIZE:TIME` or `SIZE:TIME:KIND-VALUE`: bytes, time of change (local: nanoseconds, S3: seconds) and,
where one can be had, a hash of the bytes, `sha256-...` or `etag-...`. A *stamp* is a content and a location,
`12:1700000000:etag-5d41 s3://bucket/a.mp4`; a clip that cannot be inspected has `?` for its content. Locations below
the root are relative to it, so that a root that moves as a whole keeps its stamps; those in the data set begin with its
canonical folder, whatever link led there.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.storage.dataset_folders import NO_FOLDERS, ChangeCheck, DatasetOrigin, canonical_folders, relative_paths
from m3ray.storage.filesystems import is_local, local_path
from m3ray.storage.object_contents import find_object_contents

T = TypeVar("T")
UNKNOWN_CONTENT = "?"
_STAMP = r"(?s)^(?:(?P<size>\d+):(?P<time>-?\d+)(?::(?P<hash>[a-z0-9]+-\S+))?|\?) (?P<location>.*)$"
_READERS = 32
_FILES_PER_TASK = 1000  # a task costs more than the inspection of a file
_BLOCK = 1 << 20
# The files of a copied root have new times. Up to so many bytes of them are hashed to recognise them all the same.
_MAX_HASHED_BYTES = 1 << 30


def find_contents(uris: pa.ChunkedArray, home: str, by: ChangeCheck = "fast") -> pa.ChunkedArray:
    """Find the content of each clip.

    Args:
        uris: URIs of the catalogue.
        home: URI of the root; up to 1 GiB of the files below it are hashed in any case.
        by: how a changed local file is detected: 'hash' hashes every one, 'fast' takes size and time. Objects of S3
            have an entity tag.
    Returns:
        A content a clip; null where it cannot be inspected: no such file, not a file, http(s), or no URI.
    """
    column = uris.cast(pa.large_string()).combine_chunks()
    unique = pc.unique(column.filter(pc.not_equal(column, "")).drop_null())
    texts = unique.to_pylist()
    contents: dict[str, str] = _find_local_contents([uri for uri in texts if is_local(uri)], home, by)
    contents |= find_object_contents([uri for uri in texts if uri.startswith("s3://")])
    values = pa.array([contents.get(uri) for uri in texts], pa.string())
    return pa.chunked_array([values.take(pc.index_in(column, unique))])


def make_stamps(
    contents: pa.ChunkedArray, uris: pa.ChunkedArray, home: str, homes: Mapping[str, str] = NO_FOLDERS
) -> pa.ChunkedArray:
    """Make the stamps of clips out of their contents and locations.

    Args:
        contents: content of each clip; null where it is unknown.
        uris: URI of each clip.
        home: URI of the root.
        homes: canonical path of each spelling of the data set's folders, as `canonical_folders` returns.
    Returns:
        A stamp a clip; null where there is no URI.
    """
    locations = _find_locations(uris.cast(pa.large_string()), home, homes)
    filled = pc.fill_null(contents.cast(pa.large_string()), UNKNOWN_CONTENT)
    return pc.if_else(pc.equal(uris, ""), None, pc.binary_join_element_wise(filled, locations, _large(" ")))


def _find_locations(uris: pa.ChunkedArray, home: str, homes: Mapping[str, str]) -> pa.ChunkedArray:
    own = dict.fromkeys(canonical_folders(DatasetOrigin((home,)), {}), ".")
    named = [(name, folder) for folder, name in {**homes, **own}.items()]
    named.sort(key=lambda pair: (pair[0] != ".", -len(pair[1])))  # the innermost folder that a clip lies in
    # The end of a signed address changes from day to day, and is a secret that must not be kept.
    web = pc.match_substring_regex(uris, "^https?://")
    bare = pc.replace_substring_regex(uris, r"(?s)[?#].*$", "")
    paths = [(name, relative_paths(uris, folder)) for name, folder in named]
    inside = [pc.binary_join_element_wise(_large(name), path, _large("/")) for name, path in paths]
    return pc.coalesce(*inside, pc.if_else(web, bare, uris))


def _large(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())


def is_same_content(now: pa.ChunkedArray, then: pa.ChunkedArray) -> np.ndarray:
    """Compare stamps pair by pair.

    Hashes decide where both stamps have one of the same kind; else size, time and location; where a clip could not be
    inspected, the location alone.

    Args:
        now: stamps.
        then: as many stamps to compare with.
    Returns:
        Whether each pair is the same content, bool, (clips,); True where a stamp is null, since nothing is known to
        have changed.
    """
    equal = pc.fill_null(pc.equal(now.cast(pa.large_string()), then.cast(pa.large_string())), True).to_numpy().copy()
    rows = np.flatnonzero(~equal)
    if len(rows):
        equal[rows] = _is_same_parts(_split_stamps(now.take(rows)), _split_stamps(then.take(rows)))
    return equal


def content_hashes(stamps: pa.ChunkedArray) -> pa.ChunkedArray:
    """Size and hash of each stamp's content, equal for equal bytes wherever they lie.

    Args:
        stamps: stamps of clips.
    Returns:
        `SIZE:KIND-VALUE` a stamp; null where the stamp has no hash.
    """
    parts = _split_stamps(stamps)
    has_hash = pc.not_equal(parts["hash"], "")
    text = pc.binary_join_element_wise(parts["size"], parts["hash"], _large(":"))
    return pc.if_else(pc.fill_null(has_hash, False), text, None)


def is_unknown_content(stamps: pa.ChunkedArray) -> pa.ChunkedArray:
    """Tell which stamps are of clips that could not be inspected.

    Args:
        stamps: stamps of clips.
    Returns:
        Whether each one's content is unknown, as booleans.
    """
    return pc.fill_null(pc.starts_with(stamps, f"{UNKNOWN_CONTENT} "), False)


def _split_stamps(stamps: pa.ChunkedArray) -> pa.Table:
    names = ("size", "time", "hash", "location")
    if not len(stamps):
        return pa.table({name: pa.chunked_array([], pa.large_string()) for name in names})
    parts = pc.extract_regex(stamps.cast(pa.large_string()), _STAMP)
    return pa.table({name: pc.struct_field(parts, name) for name in names})


def _is_same_parts(now: pa.Table, then: pa.Table) -> np.ndarray:
    def is_equal(name: str) -> np.ndarray:
        return pc.fill_null(pc.equal(now[name], then[name]), True).to_numpy()

    def has_both(name: str) -> np.ndarray:
        both = pc.and_(pc.not_equal(now[name], ""), pc.not_equal(then[name], ""))
        return pc.fill_null(both, False).to_numpy()

    same_kind = pc.fill_null(pc.equal(_hash_kinds(now["hash"]), _hash_kinds(then["hash"])), False).to_numpy()
    by_time = is_equal("size") & is_equal("time") & is_equal("location")
    without_hash = np.where(has_both("size"), by_time, is_equal("location"))
    return np.where(has_both("hash") & same_kind, is_equal("size") & is_equal("hash"), without_hash)


def _hash_kinds(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.replace_substring_regex(values, "(?s)-.*$", "")


def _find_local_contents(uris: Sequence[str], home: str, by: ChangeCheck) -> dict[str, str]:
    paths = [uri if uri.startswith("/") else local_path(uri) for uri in uris]
    sizes_and_times = dict(zip(uris, _map_in_threads(_stat, paths), strict=True))
    to_hash = [k for k, uri in enumerate(uris) if sizes_and_times[uri] and (by == "hash" or uri.startswith(f"{home}/"))]
    if by == "fast":
        totals = accumulate(sizes_and_times[uris[k]][0] for k in to_hash)  # type: ignore[index]
        to_hash = [k for k, total in zip(to_hash, totals, strict=True) if total <= _MAX_HASHED_BYTES]
    hashes = _map_in_threads(_hash_file, [paths[k] for k in to_hash], 1)
    hash_of = dict(zip((uris[k] for k in to_hash), hashes, strict=True))
    return {uri: _join_content(known, hash_of.get(uri)) for uri, known in sizes_and_times.items() if known}


def _map_in_threads(call: Callable[[str], T], paths: Sequence[str], files_per_task: int = _FILES_PER_TASK) -> list[T]:
    """Call a function on each path, in parallel since over a network each call is a round trip."""
    chunks = [paths[k : k + files_per_task] for k in range(0, len(paths), files_per_task)]
    with ThreadPoolExecutor(_READERS) as pool:
        parts = pool.map(lambda chunk: [call(path) for path in chunk], chunks)
        return [result for part in parts for result in part]


def _stat(path: str) -> tuple[int, int] | None:
    """Size in bytes and time of change in nanoseconds; None if there is no such file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _hash_file(path: str) -> str | None:
    digest = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError:
        return None
    return f"sha256-{digest.hexdigest()}"


def _join_content(size_and_time: tuple[int, int], file_hash: str | None) -> str:
    return ":".join([*map(str, size_and_time), *([file_hash] if file_hash else [])])
