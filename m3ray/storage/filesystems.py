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
from m3ray.storage.fault_codes import fault_of
from m3ray.storage.faults import BY_CODE, is_passing
from m3ray.storage.schemes import is_anonymous, is_paid_by_us
from m3ray.storage.secrets import has_secret as has_secret
from m3ray.storage.secrets import redacted

T = TypeVar("T")

# file:/x, file:///x and file://localhost/x are one file (RFC 8089).
_FILE = re.compile(r"^file:(?://(?:localhost)?)?(?=/)", re.IGNORECASE)
_S3_ATTEMPTS = 6  # of the client, on 5xx, throttling and broken connections
_ATTEMPTS = 4  # ours, around the client's
_FIRST_WAIT = 0.5


def absolute_uri(uri: str) -> str:
    """`uri` with its scheme, or as an absolute local path: workers run in other folders."""
    if "://" in uri or _FILE.match(uri) or has_secret(uri):  # what carries a secret is refused by whoever opens it
        return uri
    return str(Path(uri).expanduser().absolute())


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
    if is_local(uri) and not has_secret(uri):
        return pafs.LocalFileSystem(), local_path(uri)
    if has_secret(uri):
        raise ConfigError(
            f"a URI carries credentials, which would stand in tables and logs: {BY_CODE['secret_in_uri'].advice}"
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
        raise ConfigError(
            f"cannot use {uri!r} ({redacted(one_line(error))}): give a local folder or an s3:// URI"
        ) from error


def looked_at(uri: str) -> tuple[pafs.FileSystem, str, pafs.FileInfo]:
    """As `filesystem_of`, and what lies there.

    Raises:
        ConfigError: the URI cannot be used, or its storage does not let one look.
    """
    if uri.startswith("s3://") and is_paid_by_us(uri.split("/")[2]):
        raise ConfigError(
            f"{uri!r}: a requester-pays bucket is read clip by clip, not listed: copy its table here, or make a table "
            "of the URIs (--dataset table)"
        )
    fs, path = filesystem_of(uri)
    try:
        return fs, path, retried(lambda: fs.get_file_info(path), fs)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot look at {uri!r} ({redacted(one_line(error))}): {BY_CODE['no_such_place'].advice}"
        ) from error


def as_text(path: str) -> str:
    """A local path as UTF-8 text, bytes that are none as `\\xNN`."""
    return os.fsencode(path).decode(errors="backslashreplace")


def one_line(error: BaseException) -> str:
    """What an error of a library says, as one line, without the structures that obstore dumps behind it."""
    return " ".join(str(error).split()).partition(" Debug source:")[0] or type(error).__name__


def _s3(bucket: str) -> pafs.S3FileSystem:
    if not bucket:
        raise ConfigError("s3:// without a bucket: give s3://bucket/prefix")
    return _s3_client(*s3_place(bucket), is_anonymous(bucket))


def s3_place(bucket: str) -> tuple[str, str]:
    """The endpoint ("": AWS's own) and the region of a bucket."""
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


def retried(call: Callable[[], T], fs: pafs.FileSystem) -> T:
    """`call()`, again after a growing pause where remote storage fails beyond what its client retries.

    Raises:
        OSError: as the last attempt.
    """
    if isinstance(fs, pafs.LocalFileSystem):
        return call()
    for attempt in range(1, _ATTEMPTS):
        try:
            return call()
        except OSError as error:
            if not is_passing(fault_of(error, local=False)):
                raise
        time.sleep(wait_after(attempt))
    return call()


def wait_after(attempt: int) -> float:
    """Seconds before the next attempt: many workers fail together, and must not come back together."""
    return _FIRST_WAIT * 2 ** (attempt - 1) * (0.5 + random.random())
