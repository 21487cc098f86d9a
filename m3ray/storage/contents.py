"""Which content a clip has, so that a file or object that changed under the same name is computed again.

A *content* is text, `SIZE:TIME` or `SIZE:TIME:KIND-VALUE`: bytes, time of change (local: nanoseconds, S3: seconds) and,
where it can be had, what tells the bytes themselves: `sha256-...` or `etag-...`. A *stamp* is a content and its place,
`12:1700000000:etag-5d41 s3://bucket/a.mp4`; a clip that cannot be looked at has `?` for its content. Places below the
root are relative to it, so that a root which moves as a whole has the stamps that it had; those of the data set are its
real path's, whatever link led there.
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

from m3ray.storage.filesystems import is_local, local_path
from m3ray.storage.homes import NOWHERE, By, Origin, known_homes, within
from m3ray.storage.object_contents import object_contents

T = TypeVar("T")
UNSEEN = "?"
_STAMP = r"(?s)^(?:(?P<size>\d+):(?P<time>-?\d+)(?::(?P<strong>[a-z0-9]+-\S+))?|\?) (?P<place>.*)$"
_READERS = 32
_EACH = 1000  # files a task: a task costs more than looking at a file
_BLOCK = 1 << 20
# A copied root's own files have other times. So many bytes of them are read, to know them all the same.
_MOST_HASHED = 1 << 30


def contents(uris: pa.ChunkedArray, home: str, by: By = "fast") -> pa.ChunkedArray:
    """The content of each clip; null where it cannot be looked at: absent, not a file, http(s), no URI.

    Args:
        uris: of the catalogue.
        home: URI of the root; up to 1 GiB of the files below it are read and hashed in any case.
        by: hash: every local file is read and hashed. Objects of S3 have an etag.
    """
    given = uris.cast(pa.large_string()).combine_chunks()
    known = pc.unique(given.filter(pc.not_equal(given, "")).drop_null())
    texts = known.to_pylist()
    found: dict[str, str] = _local([uri for uri in texts if is_local(uri)], home, by)
    found |= object_contents([uri for uri in texts if uri.startswith("s3://")])
    values = pa.array([found.get(uri) for uri in texts], pa.string())
    return pa.chunked_array([values.take(pc.index_in(given, known))])


def stamps(
    contents: pa.ChunkedArray, uris: pa.ChunkedArray, home: str, homes: Mapping[str, str] = NOWHERE
) -> pa.ChunkedArray:
    """Contents with their places; null where there is no URI.

    Args:
        contents: null where unknown.
        uris: as many.
        home: URI of the root.
        homes: of `known_homes`: the data set's folders to the paths that they are known by.
    """
    places = _places(uris.cast(pa.large_string()), home, homes)
    known = pc.fill_null(contents.cast(pa.large_string()), UNSEEN)
    return pc.if_else(pc.equal(uris, ""), None, pc.binary_join_element_wise(known, places, _large(" ")))


def _places(uris: pa.ChunkedArray, home: str, homes: Mapping[str, str]) -> pa.ChunkedArray:
    own = dict.fromkeys(known_homes(Origin((home,)), {}), ".")
    named = [(name, folder) for folder, name in {**homes, **own}.items()]
    named.sort(key=lambda pair: (pair[0] != ".", -len(pair[1])))  # the innermost folder that a clip lies in
    # What a signed address ends in changes from day to day, and is nobody's to keep.
    web = pc.match_substring_regex(uris, "^https?://")
    bare = pc.replace_substring_regex(uris, r"(?s)[?#].*$", "")
    inside = [pc.binary_join_element_wise(_large(name), within(uris, folder), _large("/")) for name, folder in named]
    return pc.coalesce(*inside, pc.if_else(web, bare, uris))


def _large(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())


def same(now: pa.ChunkedArray, then: pa.ChunkedArray) -> np.ndarray:
    """Whether each pair of stamps is one content; also where one is null, since nothing is known to have changed.

    Bytes decide where both stamps tell them; else size, time and place; where one was not looked at, place alone.
    """
    equal = pc.fill_null(pc.equal(now.cast(pa.large_string()), then.cast(pa.large_string())), True).to_numpy().copy()
    rows = np.flatnonzero(~equal)
    if len(rows):
        equal[rows] = _alike(_parts(now.take(rows)), _parts(then.take(rows)))
    return equal


def strong(stamps: pa.ChunkedArray) -> pa.ChunkedArray:
    """What tells the bytes themselves, wherever they lie: `SIZE:KIND-VALUE`; null where nothing does."""
    parts = _parts(stamps)
    told = pc.not_equal(parts["strong"], "")
    joined = pc.binary_join_element_wise(parts["size"], parts["strong"], _large(":"))
    return pc.if_else(pc.fill_null(told, False), joined, None)


def unseen(stamps: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether each stamp is of a clip that could not be looked at."""
    return pc.fill_null(pc.starts_with(stamps, f"{UNSEEN} "), False)


def _parts(stamps: pa.ChunkedArray) -> pa.Table:
    names = ("size", "time", "strong", "place")
    if not len(stamps):
        return pa.table({name: pa.chunked_array([], pa.large_string()) for name in names})
    found = pc.extract_regex(stamps.cast(pa.large_string()), _STAMP)
    return pa.table({name: pc.struct_field(found, name) for name in names})


def _alike(now: pa.Table, then: pa.Table) -> np.ndarray:
    def equal(name: str) -> np.ndarray:
        return pc.fill_null(pc.equal(now[name], then[name]), True).to_numpy()

    def told(name: str) -> np.ndarray:
        both = pc.and_(pc.not_equal(now[name], ""), pc.not_equal(then[name], ""))
        return pc.fill_null(both, False).to_numpy()

    kinds = pc.fill_null(pc.equal(_kind(now["strong"]), _kind(then["strong"])), False).to_numpy()
    by_time = equal("size") & equal("time") & equal("place")
    seen = np.where(told("size"), by_time, equal("place"))
    return np.where(told("strong") & kinds, equal("size") & equal("strong"), seen)


def _kind(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.replace_substring_regex(values, "(?s)-.*$", "")


def _local(uris: Sequence[str], home: str, by: By) -> dict[str, str]:
    paths = [uri if uri.startswith("/") else local_path(uri) for uri in uris]
    seen = dict(zip(uris, _threaded(_look, paths), strict=True))
    hashed = [k for k, uri in enumerate(uris) if seen[uri] and (by == "hash" or uri.startswith(f"{home}/"))]
    if by == "fast":
        read = accumulate(seen[uris[k]][0] for k in hashed)  # type: ignore[index]
        hashed = [k for k, total in zip(hashed, read, strict=True) if total <= _MOST_HASHED]
    digests = dict(zip((uris[k] for k in hashed), _threaded(_digest, [paths[k] for k in hashed], 1), strict=True))
    return {uri: _text(facts, digests.get(uri)) for uri, facts in seen.items() if facts}


def _threaded(call: Callable[[str], T], paths: Sequence[str], each: int = _EACH) -> list[T]:
    """In parallel, since over a network each is a round trip."""
    chunks = [paths[k : k + each] for k in range(0, len(paths), each)]
    with ThreadPoolExecutor(_READERS) as pool:
        parts = pool.map(lambda chunk: [call(path) for path in chunk], chunks)
        return [found for part in parts for found in part]


def _look(path: str) -> tuple[int, int] | None:
    """Bytes and nanoseconds of a file; None for what is none."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return None
    return (facts.st_size, facts.st_mtime_ns) if stat.S_ISREG(facts.st_mode) else None


def _digest(path: str) -> str | None:
    digest = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError:
        return None
    return f"sha256-{digest.hexdigest()}"


def _text(facts: tuple[int, int], told: str | None) -> str:
    return ":".join([*map(str, facts), *([told] if told else [])])
