"""Size, time and etag of objects in S3: a thousand a request where they lie together, else a request each."""

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
from m3ray.storage.filesystems import filesystem_of, retried
from m3ray.storage.object_store import open_store

_PAGE = 1000  # what S3 lists at once
_BLOCK = 20_000  # keys that one thread sees to
_READERS = 16
# A listing is worth its price where it tells of ten keys; so many may be told of fewer before each is asked for alone.
_WORTH, _SPARE = 10, 10
_MOST_FAILED = 3
_SECONDS = 60.0  # of a request
# An error of obstore is an Exception of its own; those of names are ValueErrors, those of absence and rights OSErrors.
_ERRORS = (Exception,)


def object_contents(uris: Iterable[str]) -> dict[str, str]:
    """URI of each object that is there to its content, `SIZE:SECONDS:etag-VALUE`; without the etag where S3's keys are
    such that only pyarrow can list them.

    Args:
        uris: `s3://bucket/key`.
    """
    buckets: defaultdict[str, list[str]] = defaultdict(list)
    for uri in uris:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        if not {"", ".", ".."} & set(key.split("/")):  # no client asks for a key with such a part
            buckets[bucket].append(key)
    found: dict[str, str] = {}
    for bucket, keys in buckets.items():
        found |= {f"s3://{bucket}/{key}": content for key, content in _bucket(bucket, sorted(keys)).items()}
    return found


def _bucket(bucket: str, keys: list[str]) -> dict[str, str]:
    try:
        store, _ = open_store(f"s3://{bucket}/", seconds=_SECONDS)
    except _ERRORS:  # no such bucket, or no network: decoding will say so
        return {}
    blocks = [_Block(store, bucket, keys[k : k + _BLOCK]) for k in range(0, len(keys), _BLOCK)]
    with ThreadPoolExecutor(_READERS) as pool:
        parts = pool.map(_Block.contents, blocks)
        return {key: content for part in parts for key, content in part.items()}


class _Block:
    """Sorted keys of one bucket, and what is known of them."""

    def __init__(self, store: S3Store, bucket: str, keys: Sequence[str]) -> None:
        self.store = store
        self.bucket = bucket
        self.keys = keys
        # Letter by letter, then cut at a slash: of S3's keys, `a//b` is no other spelling of `a/b`.
        self.prefix = commonprefix([keys[0], keys[-1]]).rpartition("/")[0]  # noqa: RUF071
        self.found: dict[str, str] = {}
        self.asked = 0  # keys that are settled, found or not

    def contents(self) -> dict[str, str]:
        try:
            self._list()
        except InvalidPathError:  # a key with an empty part: obstore lists no page that holds one
            self._list_folders()
        except _ERRORS:  # no right to list, or keys of a profile, which pyarrow alone reads
            self._list_folders()
            if not self.found:
                self._ask_each()
        return self.found

    def _list(self) -> None:
        """Each page begins at the next key that is not settled: never more requests than keys."""
        pages = 0
        while self.asked < len(self.keys):
            if pages * _WORTH > self.asked + _SPARE * _WORTH:
                return self._ask_each()
            page = self._page(self.keys[self.asked])
            pages += 1
            listed = {entry["path"]: entry for entry in page}
            # A page that is not full is the last one: what it does not name is not there.
            last = page[-1]["path"] if len(page) == _PAGE else self.keys[-1]
            settled = bisect_right(self.keys, last)
            for key in self.keys[self.asked : settled]:
                if key in listed:
                    self.found[key] = _content(listed[key])
            self.asked = settled
        return None

    def _page(self, key: str) -> list[Mapping[str, Any]]:
        pages = self.store.list(prefix=self.prefix or None, offset=_before(key), chunk_size=_PAGE)
        return list(next(iter(pages), ()))

    def _list_folders(self) -> None:
        """By pyarrow, which knows no etags, a request a folder or more."""
        wanted = set(self.keys[self.asked :])
        for folder in sorted({key.rpartition("/")[0] for key in wanted}):
            with suppress(OSError, ValueError, ConfigError):
                fs, path = filesystem_of(f"s3://{self.bucket}/{folder}")
                for info in _files(fs, path.rstrip("/")):
                    key = info.path.partition("/")[2]
                    if key in wanted:
                        self.found[key] = f"{info.size}:{int(info.mtime.timestamp())}"

    def _ask_each(self) -> None:
        failed = 0
        for key in self.keys[self.asked :]:
            try:
                self.found[key] = _content(self.store.head(key))
            except (FileNotFoundError, ValueError):  # not there, or a key that cannot be asked for
                continue
            except _ERRORS:
                failed += 1
                if failed == _MOST_FAILED:  # decoding will say what is wrong, clip by clip
                    return


def _before(key: str) -> str:
    """A text that sorts right before a key, so that listing after it begins with the key."""
    last = ord(key[-1])
    # Where the last letter cannot be lowered without leaving what a key may hold, the listing begins a little earlier.
    return key[:-1] + chr(last - 1) + "~" if ord("!") < last < 0xD800 else key[:-1]


def _files(fs: pafs.FileSystem, folder: str) -> list[pafs.FileInfo]:
    infos = retried(lambda: fs.get_file_info(pafs.FileSelector(folder)), fs)
    return [info for info in infos if info.type == pafs.FileType.File]


def _content(entry: Mapping[str, Any]) -> str:
    known = f"{entry['size']}:{int(entry['last_modified'].timestamp())}"
    tag = (entry["e_tag"] or "").removeprefix("W/").strip('"')
    return f"{known}:etag-{tag}" if tag and not any(letter.isspace() for letter in tag) else known
