"""Size, time and entity tag of objects in S3: a thousand a request if they lie together, else a request each."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from os.path import commonprefix
from typing import Any

from obstore.exceptions import InvalidPathError
from obstore.store import S3Store
from pyarrow import fs as pafs

from m3ray.errors import ConfigError
from m3ray.storage.filesystems import open_filesystem, retry_transient
from m3ray.storage.object_store import open_store

_PAGE = 1000  # keys that S3 lists at once
_BLOCK = 20_000  # keys that one thread handles
_READERS = 16
# A listing is worth its price if it settles ten keys; after ten listings too many each key is requested alone.
_KEYS_PER_LISTING, _SPARE_LISTINGS = 10, 10
_MAX_FAILED = 3
_SECONDS = 60.0  # time limit of a request
# Errors of obstore are Exceptions of its own; those of names are ValueErrors, those of absence and rights OSErrors.
_ERRORS = (Exception,)


def find_object_contents(uris: Iterable[str]) -> dict[str, str]:
    """Find the contents of objects in S3.

    Args:
        uris: `s3://bucket/key` of each object.
    Returns:
        URI of each object that exists to its content, `SIZE:SECONDS:etag-VALUE`, without the entity tag where only
        pyarrow can list the key.
    """
    buckets: defaultdict[str, list[str]] = defaultdict(list)
    for uri in uris:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        if not {"", ".", ".."} & set(key.split("/")):  # no client requests a key with such a part
            buckets[bucket].append(key)
    contents: dict[str, str] = {}
    for bucket, keys in buckets.items():
        contents |= {f"s3://{bucket}/{key}": content for key, content in _find_in_bucket(bucket, sorted(keys)).items()}
    return contents


def _find_in_bucket(bucket: str, keys: list[str]) -> dict[str, str]:
    try:
        store, _ = open_store(f"s3://{bucket}/", seconds=_SECONDS)
    except _ERRORS:  # no such bucket, or no network: decoding will say so
        return {}
    blocks = [_Block(store, bucket, keys[k : k + _BLOCK]) for k in range(0, len(keys), _BLOCK)]
    with ThreadPoolExecutor(_READERS) as pool:
        parts = pool.map(_Block.find_contents, blocks)
        return {key: content for part in parts for key, content in part.items()}


class _Block:
    """Sorted keys of one bucket, and what is known of their objects."""

    def __init__(self, store: S3Store, bucket: str, keys: Sequence[str]) -> None:
        self.store = store
        self.bucket = bucket
        self.keys = keys
        # Compared by letters and then cut at a slash, since `a//b` and `a/b` are different keys in S3.
        self.prefix = commonprefix([keys[0], keys[-1]]).rpartition("/")[0]  # noqa: RUF071
        self.contents: dict[str, str] = {}
        self.settled = 0  # number of keys of which it is known whether they exist

    def find_contents(self) -> dict[str, str]:
        try:
            self._list()
        except InvalidPathError:  # obstore lists no page that holds a key with an empty part
            self._list_folders()
        except _ERRORS:  # no right to list, or credentials of a profile, which pyarrow alone reads
            self._list_folders()
            if not self.contents:
                self._request_each()
        return self.contents

    def _list(self) -> None:
        """List page by page, each from the next key that is not settled: never more requests than keys."""
        pages = 0
        while self.settled < len(self.keys):
            if pages * _KEYS_PER_LISTING > self.settled + _SPARE_LISTINGS * _KEYS_PER_LISTING:
                return self._request_each()
            page = self._read_page(self.keys[self.settled])
            pages += 1
            listed = {entry["path"]: entry for entry in page}
            # A page that is not full is the last one: keys that it does not name do not exist.
            last = page[-1]["path"] if len(page) == _PAGE else self.keys[-1]
            end = bisect_right(self.keys, last)
            for key in self.keys[self.settled : end]:
                if key in listed:
                    self.contents[key] = _content(listed[key])
            self.settled = end
        return None

    def _read_page(self, key: str) -> list[Mapping[str, Any]]:
        pages = self.store.list(prefix=self.prefix or None, offset=_before(key), chunk_size=_PAGE)
        return list(next(iter(pages), ()))

    def _list_folders(self) -> None:
        """List by pyarrow, which knows no entity tags, with a request a folder or more."""
        wanted = set(self.keys[self.settled :])
        for folder in sorted({key.rpartition("/")[0] for key in wanted}):
            with suppress(OSError, ValueError, ConfigError):
                fs, path = open_filesystem(f"s3://{self.bucket}/{folder}")
                for info in _files(fs, path.rstrip("/")):
                    key = info.path.partition("/")[2]
                    if key in wanted:
                        self.contents[key] = f"{info.size}:{int(info.mtime.timestamp())}"

    def _request_each(self) -> None:
        failed = 0
        for key in self.keys[self.settled :]:
            try:
                self.contents[key] = _content(self.store.head(key))
            except (FileNotFoundError, ValueError):  # no such object, or a key that cannot be requested
                continue
            except _ERRORS:
                failed += 1
                if failed == _MAX_FAILED:  # decoding will say what is wrong, clip by clip
                    return


def _before(key: str) -> str:
    """Text that sorts right before a key, so that a listing after it begins with the key."""
    last = ord(key[-1])
    # If the last letter has no predecessor that a key may hold, the listing begins a little earlier.
    return key[:-1] + chr(last - 1) + "~" if ord("!") < last < 0xD800 else key[:-1]


def _files(fs: pafs.FileSystem, folder: str) -> list[pafs.FileInfo]:
    infos = retry_transient(lambda: fs.get_file_info(pafs.FileSelector(folder)), fs)
    return [info for info in infos if info.type == pafs.FileType.File]


def _content(entry: Mapping[str, Any]) -> str:
    content = f"{entry['size']}:{int(entry['last_modified'].timestamp())}"
    tag = (entry["e_tag"] or "").removeprefix("W/").strip('"')
    return f"{content}:etag-{tag}" if tag and not any(letter.isspace() for letter in tag) else content
