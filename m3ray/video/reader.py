"""Reading the bytes of one video, wherever it lies: one request a clip, its size known from the answer's header."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.parse import quote
from urllib.request import Request, urlopen

import obstore
from obstore.exceptions import BaseError

from m3ray.errors import ConfigError, DecodeError
from m3ray.storage.fault_codes import fault_of
from m3ray.storage.faults import StorageFault
from m3ray.storage.filesystems import filesystem_of, has_secret, is_local, local_path, one_line, wait_after
from m3ray.storage.object_store import open_store
from m3ray.storage.schemes import scheme_of
from m3ray.storage.secrets import redacted

T = TypeVar("T")
# What clients raise for what they were asked, as apart from mistakes in here.
_ERRORS = (OSError, ValueError, BaseError, HTTPException, ConfigError)
_HTTP_SECONDS = 60.0
# What an object without a byte answers where its first one is asked for.
_EMPTY = re.compile(r"<Code>InvalidRange<|(?:status code:|HTTP Error) 416\b")
_MOST_SAID = 300
# Other stores than S3; attempts are counted here alone, so that a clip holds its place for seconds and not minutes.
_OPTIONS: dict[str, Any] = {
    "client_options": {"timeout": timedelta(minutes=10), "connect_timeout": timedelta(seconds=10)},
    "retry_config": {"max_retries": 0},
}


def read_video(uri: str, max_bytes: int) -> bytes:
    """The bytes of a video, tried a few times within seconds where the storage fails.

    Args:
        uri: path or URI.
        max_bytes: limit.
    Raises:
        DecodeError: as `read_once`.
    """
    return patiently(lambda: read_once(uri, max_bytes))


def patiently(read: Callable[[], T]) -> T:
    """What `read` gives, tried as often as the fault it meets is worth.

    Raises:
        StorageFault: the last one.
    """
    attempt = 0
    while True:
        try:
            return read()
        except StorageFault as error:
            attempt += 1
            if attempt >= error.fault.attempts:
                raise
        time.sleep(wait_after(attempt))


def read_once(uri: str, max_bytes: int) -> bytes:
    """The bytes of a video, in one request.

    Args:
        uri: path or URI.
        max_bytes: limit; a larger object's bytes are not fetched.
    Raises:
        DecodeError: missing, not a regular file, larger than `max_bytes`.
        StorageFault: a DecodeError for what says nothing of the clip: rights, keys, network, servers.
    """
    try:
        return _reader(uri)(uri, max_bytes)
    except _ERRORS as error:
        raise _failure(uri, error) from error


def probe(uri: str) -> None:
    """Reads the first byte of what was readable before, to see whether its storage answers.

    Raises:
        StorageFault: it does not.
    """
    try:
        read_head(uri)
    except StorageFault:
        raise
    except DecodeError:  # a file that is gone meanwhile is an answer
        return


def read_head(uri: str) -> None:
    """Reads the first byte of a video, if it has one.

    Raises:
        DecodeError: as `read_once`.
    """
    try:
        _FIRST_BYTE.get(_scheme(uri), _first_of_object)(uri)
    except _ERRORS as error:
        if not _EMPTY.search(str(error)):
            raise _failure(uri, error) from error


def _scheme(uri: str) -> str:
    if has_secret(uri):
        raise ConfigError("the URI carries credentials: give them through the environment or a role")
    return "file" if is_local(uri) else scheme_of(uri)


def _reader(uri: str) -> Callable[[str, int], bytes]:
    return {"file": _read_local, "s3": _read_s3, "http": _read_http, "https": _read_http}.get(_scheme(uri), _read_other)


def _failure(uri: str, error: Exception) -> DecodeError:
    """What a client's error means, in one line without secrets."""
    where, said = redacted(uri), redacted(one_line(error))[:_MOST_SAID]
    if isinstance(error, ConfigError) or (isinstance(error, ValueError) and not isinstance(error, OSError)):
        return DecodeError("unreadable_file", f"cannot read {where!r}: {said}", stage="read")
    fault = fault_of(error, local=is_local(uri), uri=uri)
    if fault.code == "missing_file":
        return DecodeError(fault.code, f"no file at {where}", stage="read")
    if fault.kind == "clip":
        return DecodeError(fault.code, f"cannot read {where}: {said}", stage="read")
    return StorageFault(fault, f"{fault.name}: cannot read {where} ({said}): {fault.advice}")


def _read_local(uri: str, max_bytes: int) -> bytes:
    path = local_path(uri)
    # Without waiting: opening a FIFO would else block until somebody writes to it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        facts = os.fstat(descriptor)
        _check_regular(stat.S_ISREG(facts.st_mode), path)
        _check_size(facts.st_size, max_bytes)
    except DecodeError:
        os.close(descriptor)
        raise
    with open(descriptor, "rb") as file:
        return file.read()


def _read_s3(uri: str, max_bytes: int) -> bytes:
    store, key = open_store(uri, retries=0)
    try:
        return _fetched(store, key, max_bytes)
    except ValueError:  # a key with control characters: pyarrow asks for it, with a request more
        return _read_by_pyarrow(uri, max_bytes)


def _read_other(uri: str, max_bytes: int) -> bytes:
    return _fetched(*_other_store(uri), max_bytes)


def _other_store(uri: str) -> tuple[Any, str]:
    scheme, _, rest = uri.partition("://")
    place, _, key = rest.partition("/")
    return _store_of(f"{scheme}://{place}"), key


@cache
def _store_of(place: str) -> Any:
    return obstore.store.from_url(place, **_OPTIONS)


def _fetched(store: Any, key: str, max_bytes: int) -> bytes:
    reply = obstore.get(store, key)
    _check_size(reply.meta["size"], max_bytes)  # known from the header: the body was not asked for yet
    return reply.bytes().to_bytes()


def _read_by_pyarrow(uri: str, max_bytes: int) -> bytes:
    fs, path = filesystem_of(uri)
    with fs.open_input_file(path) as file:
        _check_size(file.size(), max_bytes)
        return file.read()


def _read_http(uri: str, max_bytes: int) -> bytes:
    with _asked(uri) as reply:
        promised = reply.headers.get("Content-Length") or ""
        size = int(promised) if promised.isdecimal() else None
        _check_size(size or 0, max_bytes)
        data = reply.read(max_bytes + 1)
    _check_size(len(data), max_bytes)
    if size is not None and len(data) < size:  # which http.client takes for the end
        raise ConnectionError(f"{len(data)} of {size} bytes came, then the connection ended")
    return data


def _asked(uri: str, headers: dict[str, str] | None = None) -> Any:
    asked = quote(uri, safe="%/:=&?~#+!$,;'@()*[]")
    return urlopen(Request(asked, headers={"User-Agent": "m3ray", **(headers or {})}), timeout=_HTTP_SECONDS)


def _first_of_file(uri: str) -> None:
    path = local_path(uri)
    if stat.S_ISREG(os.stat(path).st_mode):  # a FIFO would let one wait
        with open(path, "rb") as file:
            file.read(1)


def _first_of_object(uri: str) -> None:
    store, key = open_store(uri, retries=0) if uri.startswith("s3://") else _other_store(uri)
    obstore.get_range(store, key, start=0, length=1)


def _first_over_http(uri: str) -> None:
    with _asked(uri, {"Range": "bytes=0-0"}) as reply:
        reply.read(1)


_FIRST_BYTE: dict[str, Callable[[str], None]] = {
    "file": _first_of_file,
    "http": _first_over_http,
    "https": _first_over_http,
}


def _check_regular(regular: bool, where: str) -> None:
    if not regular:
        raise DecodeError("not_a_file", f"{where} is a folder, a pipe or a device, not a file", stage="read")


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise DecodeError("too_many_bytes", f"{size} bytes, limit {max_bytes}: raise limits.max-bytes", "read")
