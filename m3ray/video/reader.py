"""Reading the bytes of a video from disk, S3, other stores or the web, in one request that tells its size first."""

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
from m3ray.storage.fault_codes import classify_error
from m3ray.storage.faults import StorageFaultError
from m3ray.storage.filesystems import backoff_seconds, is_local, local_path, one_line, open_filesystem
from m3ray.storage.object_store import open_store
from m3ray.storage.schemes import parse_scheme
from m3ray.storage.secrets import has_secret, redact

T = TypeVar("T")
# Errors that clients raise about what they were asked for; others are mistakes of this module.
_ERRORS = (OSError, ValueError, BaseError, HTTPException, ConfigError)
_HTTP_SECONDS = 60.0
# The answer for an empty object whose first byte is asked for.
_EMPTY = re.compile(r"<Code>InvalidRange<|(?:status code:|HTTP Error) 416\b")
_MAX_MESSAGE = 300
# For other stores than S3. Attempts are counted here alone, so that a clip takes seconds and not minutes to fail.
_OPTIONS: dict[str, Any] = {
    "client_options": {"timeout": timedelta(minutes=10), "connect_timeout": timedelta(seconds=10)},
    "retry_config": {"max_retries": 0},
}


def read_video(uri: str, max_bytes: int) -> bytes:
    """Read a video, with a few attempts within seconds if the storage fails.

    Args:
        uri: path or URI of the video.
        max_bytes: largest size to read, bytes.
    Returns:
        Bytes of the file.
    Raises:
        DecodeError: If `read_once` raises it, whatever the attempt.
    """
    return retry_read(lambda: read_once(uri, max_bytes))


def retry_read(read: Callable[[], T]) -> T:
    """Call a function that reads, as often as the fault that it meets is worth.

    Args:
        read: function that raises StorageFaultError where the storage fails.
    Returns:
        What it returns.
    Raises:
        StorageFaultError: If the last attempt fails too.
    """
    attempt = 0
    while True:
        try:
            return read()
        except StorageFaultError as error:
            attempt += 1
            if attempt >= error.fault.attempts:
                raise
        time.sleep(backoff_seconds(attempt))


def read_once(uri: str, max_bytes: int) -> bytes:
    """Read a video in one request.

    Args:
        uri: path or URI of the video.
        max_bytes: largest size to read, bytes; of a larger object nothing is fetched.
    Returns:
        Bytes of the file.
    Raises:
        DecodeError: If it is missing, no regular file, or larger than `max_bytes`.
        StorageFaultError: If the storage fails for a reason that says nothing of the clip: rights, network, servers.
    """
    try:
        return _choose_reader(uri)(uri, max_bytes)
    except _ERRORS as error:
        raise _as_decode_error(uri, error) from error


def probe_storage(uri: str) -> None:
    """Find out whether a storage answers, by the first byte of a video that was readable before.

    Args:
        uri: path or URI of the video; a missing file is an answer too.
    Raises:
        StorageFaultError: If the storage does not answer.
    """
    try:
        read_head(uri)
    except StorageFaultError:
        raise
    except DecodeError:
        return


def read_head(uri: str) -> None:
    """Read the first byte of a video, if it has one.

    Args:
        uri: path or URI of the video.
    Raises:
        DecodeError: If it cannot be read, as `read_once` raises it.
    """
    try:
        _HEAD_READERS.get(_check_scheme(uri), _read_object_head)(uri)
    except _ERRORS as error:
        if not _EMPTY.search(str(error)):
            raise _as_decode_error(uri, error) from error


def _check_scheme(uri: str) -> str:
    if has_secret(uri):
        raise ConfigError("the URI carries credentials: give them through the environment or a role")
    return "file" if is_local(uri) else parse_scheme(uri)


def _choose_reader(uri: str) -> Callable[[str, int], bytes]:
    return {"file": _read_local, "s3": _read_s3, "http": _read_http, "https": _read_http}.get(
        _check_scheme(uri), _read_other
    )


def _as_decode_error(uri: str, error: Exception) -> DecodeError:
    """The meaning of a client's error, in one line without secrets."""
    where, message = redact(uri), redact(one_line(error))[:_MAX_MESSAGE]
    if isinstance(error, ConfigError) or (isinstance(error, ValueError) and not isinstance(error, OSError)):
        return DecodeError("unreadable_file", f"cannot read {where!r}: {message}", stage="read")
    fault = classify_error(error, local=is_local(uri), uri=uri)
    if fault.code == "missing_file":
        return DecodeError(fault.code, f"no file at {where}", stage="read")
    if fault.kind == "clip":
        return DecodeError(fault.code, f"cannot read {where}: {message}", stage="read")
    return StorageFaultError(fault, f"{fault.name}: cannot read {where} ({message}): {fault.advice}")


def _read_local(uri: str, max_bytes: int) -> bytes:
    path = local_path(uri)
    # Non-blocking, as opening a FIFO would else wait until somebody writes to it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        info = os.fstat(descriptor)
        _check_regular(stat.S_ISREG(info.st_mode), path)
        _check_size(info.st_size, max_bytes)
    except DecodeError:
        os.close(descriptor)
        raise
    with open(descriptor, "rb") as file:
        return file.read()


def _read_s3(uri: str, max_bytes: int) -> bytes:
    store, key = open_store(uri, retries=0)
    try:
        return _fetch(store, key, max_bytes)
    except ValueError:  # obstore takes no key with control characters; pyarrow does, with one more request
        return _read_by_pyarrow(uri, max_bytes)


def _read_other(uri: str, max_bytes: int) -> bytes:
    return _fetch(*_open_other_store(uri), max_bytes)


def _open_other_store(uri: str) -> tuple[Any, str]:
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    return _open_cached_store(f"{scheme}://{bucket}"), key


@cache
def _open_cached_store(url: str) -> Any:
    return obstore.store.from_url(url, **_OPTIONS)


def _fetch(store: Any, key: str, max_bytes: int) -> bytes:
    reply = obstore.get(store, key)
    _check_size(reply.meta["size"], max_bytes)  # from the header: the body is not fetched yet
    return reply.bytes().to_bytes()


def _read_by_pyarrow(uri: str, max_bytes: int) -> bytes:
    fs, path = open_filesystem(uri)
    with fs.open_input_file(path) as file:
        _check_size(file.size(), max_bytes)
        return file.read()


def _read_http(uri: str, max_bytes: int) -> bytes:
    with _open_url(uri) as reply:
        promised = reply.headers.get("Content-Length") or ""
        size = int(promised) if promised.isdecimal() else None
        _check_size(size or 0, max_bytes)
        data = reply.read(max_bytes + 1)
    _check_size(len(data), max_bytes)
    if size is not None and len(data) < size:  # http.client takes a lost connection for the end
        raise ConnectionError(f"{len(data)} of {size} bytes came, then the connection ended")
    return data


def _open_url(uri: str, headers: dict[str, str] | None = None) -> Any:
    url = quote(uri, safe="%/:=&?~#+!$,;'@()*[]")
    return urlopen(Request(url, headers={"User-Agent": "m3ray", **(headers or {})}), timeout=_HTTP_SECONDS)


def _read_file_head(uri: str) -> None:
    path = local_path(uri)
    if stat.S_ISREG(os.stat(path).st_mode):  # reading a FIFO would wait
        with open(path, "rb") as file:
            file.read(1)


def _read_object_head(uri: str) -> None:
    store, key = open_store(uri, retries=0) if uri.startswith("s3://") else _open_other_store(uri)
    obstore.get_range(store, key, start=0, length=1)


def _read_http_head(uri: str) -> None:
    with _open_url(uri, {"Range": "bytes=0-0"}) as reply:
        reply.read(1)


_HEAD_READERS: dict[str, Callable[[str], None]] = {
    "file": _read_file_head,
    "http": _read_http_head,
    "https": _read_http_head,
}


def _check_regular(regular: bool, where: str) -> None:
    if not regular:
        raise DecodeError("not_a_file", f"{where} is a folder, a pipe or a device, not a file", stage="read")


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise DecodeError("too_many_bytes", f"{size} bytes, limit {max_bytes}: raise limits.max-bytes", "read")
