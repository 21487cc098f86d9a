"""Local folders and S3 behind pyarrow's filesystem interface; endpoint and credentials come from the environment."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote_to_bytes

import pyarrow as pa
from pyarrow import fs as pafs

from m3ray.errors import ConfigError
from m3ray.storage.fault_codes import classify_error
from m3ray.storage.faults import BY_CODE, is_transient
from m3ray.storage.schemes import is_anonymous, is_requester_pays
from m3ray.storage.secrets import has_secret, redact

T = TypeVar("T")

# file:/x, file:///x and file://localhost/x are one file (RFC 8089).
_FILE = re.compile(r"^file:(?://(?:localhost)?)?(?=/)", re.IGNORECASE)
_S3_ATTEMPTS = 6  # by the client, on status 5xx, throttling and broken connections
_ATTEMPTS = 4  # by us, each with the client's own
_FIRST_WAIT = 0.5


def absolute_uri(uri: str) -> str:
    """Absolute form of a path or URI, since workers run in other folders.

    Args:
        uri: URI, or local path that may be relative.
    Returns:
        A URI as it is, or the absolute local path.
    """
    if "://" in uri or _FILE.match(uri) or has_secret(uri):  # a URI with a secret is rejected by whoever opens it
        return uri
    return str(Path(uri).expanduser().absolute())


def is_local(uri: str) -> bool:
    """Tell whether a URI names a local file.

    Args:
        uri: path or URI.
    Returns:
        Whether it is a path or a `file:` URI.
    """
    return "://" not in uri or _FILE.match(uri) is not None


def local_path(uri: str) -> str:
    """Path of a local URI.

    Args:
        uri: path or `file:` URI, which is percent-encoded and may so hold names that are not UTF-8.
    Returns:
        The absolute path.
    """
    if _FILE.match(uri):
        return os.fsdecode(unquote_to_bytes(_FILE.sub("", uri)))
    return str(Path(uri).expanduser().absolute())


def open_filesystem(uri: str) -> tuple[pafs.FileSystem, str]:
    """Open the filesystem of a path or URI.

    Args:
        uri: local path, `file:` or `s3://` URI.
    Returns:
        The filesystem, and the path in it.
    Raises:
        ConfigError: If the scheme is another one, the URI carries credentials, or a part of an S3 path is empty.
    """
    if is_local(uri) and not has_secret(uri):
        return pafs.LocalFileSystem(), local_path(uri)
    if has_secret(uri):
        raise ConfigError(
            f"a URI carries credentials, which would stand in tables and logs: {BY_CODE['secret_in_uri'].advice}"
        )
    scheme, _, path = uri.partition("://")
    if scheme == "s3" and "//" in path.rstrip("/"):
        raise ConfigError(f"{uri!r} has an empty part (//), which cannot be requested: write it with single slashes")
    if scheme != "s3":
        raise ConfigError(f"cannot use {uri!r}: {scheme}:// is not served; give a local folder or an s3:// URI")
    try:
        # The path is not decoded: keys may hold ?, # and %.
        return _s3(path.partition("/")[0]), path
    except (pa.ArrowInvalid, OSError) as error:
        raise ConfigError(
            f"cannot use {uri!r} ({redact(one_line(error))}): give a local folder or an s3:// URI"
        ) from error


def stat_uri(uri: str) -> tuple[pafs.FileSystem, str, pafs.FileInfo]:
    """Open the filesystem of a path or URI, and inspect what is there.

    Args:
        uri: local path, `file:` or `s3://` URI.
    Returns:
        The filesystem, the path in it, and the kind and size of the file or folder there.
    Raises:
        ConfigError: If the URI cannot be used, or its storage does not answer or gives no right to inspect it.
    """
    if uri.startswith("s3://") and is_requester_pays(uri.split("/")[2]):
        raise ConfigError(
            f"{uri!r}: a requester-pays bucket is read clip by clip, not listed: copy its table here, or make a table "
            "of the URIs (--dataset table)"
        )
    fs, path = open_filesystem(uri)
    try:
        return fs, path, retry_transient(lambda: fs.get_file_info(path), fs)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot access {uri!r} ({redact(one_line(error))}): {BY_CODE['no_such_place'].advice}"
        ) from error


def printable_path(path: str) -> str:
    r"""Text of a local path for messages and tables.

    Args:
        path: path as Python has it, whose bytes need not be UTF-8.
    Returns:
        The path, with `\xNN` for each byte that is no UTF-8.
    """
    return os.fsencode(path).decode(errors="backslashreplace")


def one_line(error: BaseException) -> str:
    """Message of a library's error in one line.

    Args:
        error: error of pyarrow, obstore or the system.
    Returns:
        Its text without the structures that obstore appends, or the name of its class where it has no text.
    """
    return " ".join(str(error).split()).partition(" Debug source:")[0] or type(error).__name__


def _s3(bucket: str) -> pafs.S3FileSystem:
    if not bucket:
        raise ConfigError("s3:// without a bucket: give s3://bucket/prefix")
    return _s3_client(*s3_location(bucket), is_anonymous(bucket))


def s3_location(bucket: str) -> tuple[str, str]:
    """Endpoint and region of a bucket.

    Args:
        bucket: name of the bucket.
    Returns:
        The endpoint's URL, "" for that of AWS, and the name of the region.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
    return endpoint, region or ("us-east-1" if endpoint else _region(bucket))


@cache
def _region(bucket: str) -> str:
    return pafs.resolve_s3_region(bucket)


@cache
def _s3_client(endpoint: str, region: str, anonymous: bool) -> pafs.S3FileSystem:
    scheme, _, host = endpoint.rpartition("://")
    return pafs.S3FileSystem(
        region=region,
        anonymous=anonymous,
        endpoint_override=host.rstrip("/") or None,
        scheme=scheme or "https",
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=_S3_ATTEMPTS),
        connect_timeout=10,
        request_timeout=60,
        allow_delayed_open=True,  # a small object is one request, not the three of a multipart upload
    )


def retry_transient(call: Callable[[], T], fs: pafs.FileSystem) -> T:
    """Call a function, and again after growing pauses while remote storage fails for transient reasons.

    Args:
        call: function to call; its client's own retries come on top.
        fs: filesystem that it uses; a local one is not retried.
    Returns:
        What `call` returned.
    Raises:
        OSError: If the last attempt failed, or an attempt for a reason that is not transient.
    """
    if isinstance(fs, pafs.LocalFileSystem):
        return call()
    for attempt in range(1, _ATTEMPTS):
        try:
            return call()
        except OSError as error:
            if not is_transient(classify_error(error, local=False)):
                raise
        time.sleep(backoff_seconds(attempt))
    return call()


def backoff_seconds(attempt: int) -> float:
    """Pause before the next attempt, random since many workers fail together and must not come back together.

    Args:
        attempt: number of the attempt that failed, from 1.
    Returns:
        The pause in seconds.
    """
    return _FIRST_WAIT * 2 ** (attempt - 1) * (0.5 + random.random())
