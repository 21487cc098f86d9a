"""Local folders and S3 behind one interface, pyarrow's: endpoint and credentials come from the environment alone."""

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

T = TypeVar("T")

# user:password@ before the first slash
_SECRET = re.compile(r"^[a-z0-9+.-]+://[^/@]*:[^/@]*@", re.IGNORECASE)
# file:/x, file:///x and file://localhost/x are one file (RFC 8089).
_FILE = re.compile(r"^file:(?://(?:localhost)?)?(?=/)", re.IGNORECASE)
_S3_ATTEMPTS = 6  # of the client, on 5xx, throttling and broken connections
_ATTEMPTS = 4  # ours, around the client's
_FIRST_WAIT = 0.5


def absolute_uri(uri: str) -> str:
    """`uri` with its scheme, or as an absolute local path: workers run in other folders."""
    return uri if "://" in uri or _FILE.match(uri) else str(Path(uri).expanduser().absolute())


def has_secret(uri: str) -> bool:
    """Whether a URI carries a password: it would stand in every table and log."""
    return _SECRET.match(uri) is not None


def is_local(uri: str) -> bool:
    """Whether a URI names a file of this machine."""
    return "://" not in uri or _FILE.match(uri) is not None


def local_path(uri: str) -> str:
    """The path of a local URI. Names that are not UTF-8 travel as percent-encoded `file://` URIs."""
    if _FILE.match(uri):
        return os.fsdecode(unquote_to_bytes(_FILE.sub("", uri)))
    return str(Path(uri).expanduser().absolute())


def filesystem_of(uri: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem of a path or URI, and the path in it.

    Raises:
        ConfigError: the scheme is not served, the URI carries credentials, or a part of an S3 path is empty.
    """
    if is_local(uri):
        return pafs.LocalFileSystem(), local_path(uri)
    if has_secret(uri):
        raise ConfigError(
            "a URI carries credentials (user:password@): they would stand in tables and logs; give them through the "
            "environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), a profile or an instance role"
        )
    scheme, _, path = uri.partition("://")
    if scheme == "s3" and "//" in path.rstrip("/"):
        raise ConfigError(f"{uri!r} has an empty part (//), which cannot be asked for: write it with single slashes")
    if scheme != "s3":
        raise ConfigError(f"cannot use {uri!r}: {scheme}:// is not served; give a local folder or an s3:// URI")
    try:
        # The path is taken as it stands: keys may hold ?, # and %.
        return _s3(path.partition("/")[0]), path
    except (pa.ArrowInvalid, OSError) as error:
        raise ConfigError(f"cannot use {uri!r} ({one_line(error)}): give a local folder or an s3:// URI") from error


def looked_at(uri: str) -> tuple[pafs.FileSystem, str, pafs.FileInfo]:
    """As `filesystem_of`, and what lies there.

    Raises:
        ConfigError: the URI cannot be used, or its storage does not let one look.
    """
    fs, path = filesystem_of(uri)
    try:
        return fs, path, retried(lambda: fs.get_file_info(path), fs)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot look at {uri!r} ({one_line(error)}): check the name, the rights and the network"
        ) from error


def as_text(path: str) -> str:
    """A local path as UTF-8 text, bytes that are none as `\\xNN`."""
    return os.fsencode(path).decode(errors="backslashreplace")


def one_line(error: BaseException) -> str:
    """What an error of a library says, as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _s3(bucket: str) -> pafs.S3FileSystem:
    if not bucket:
        raise ConfigError("s3:// without a bucket: give s3://bucket/prefix")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
    return _s3_client(endpoint, region or ("us-east-1" if endpoint else _region(bucket)))


@cache
def _region(bucket: str) -> str:
    return pafs.resolve_s3_region(bucket)


@cache
def _s3_client(endpoint: str, region: str) -> pafs.S3FileSystem:
    scheme, _, host = endpoint.rpartition("://")
    return pafs.S3FileSystem(
        region=region,
        endpoint_override=host.rstrip("/") or None,
        scheme=scheme or "https",
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=_S3_ATTEMPTS),
        connect_timeout=10,
        request_timeout=60,
        allow_delayed_open=True,  # a small object is one request, not the three of a multipart upload
    )


def retried(call: Callable[[], T], fs: pafs.FileSystem) -> T:
    """`call()`, again after a growing pause where remote storage fails beyond what its client retries.

    Raises:
        OSError: as the last attempt.
    """
    if isinstance(fs, pafs.LocalFileSystem):
        return call()
    for attempt in range(_ATTEMPTS - 1):
        try:
            return call()
        except OSError as error:
            if is_final(error):
                raise
        # Many workers fail together: they must not come back together.
        time.sleep(_FIRST_WAIT * 2**attempt * (0.5 + random.random()))
    return call()


def is_final(error: OSError) -> bool:
    """Whether trying again can't help: the file is absent, or the rights are."""
    text = str(error)
    return isinstance(error, FileNotFoundError | PermissionError) or "ACCESS_DENIED" in text or "NO_SUCH" in text
