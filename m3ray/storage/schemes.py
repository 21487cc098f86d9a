"""Which URIs a clip may have, and how they are accessed; a catalogue's are checked before the first clip is read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import StorageConfig
from m3ray.errors import ConfigError, SchemaError
from m3ray.storage.faults import BY_CODE
from m3ray.storage.secrets import find_secret_rows, redact

# gs, az and abfs take their credentials from the environment, as Google's and Microsoft's tools do.
READABLE = ("s3", "gs", "az", "abfs", "abfss", "http", "https", "file")
_SERVED = rf"^(?:{'|'.join(READABLE)})://"
# Without two slashes these would pass for names of local files.
_ONE_SLASH = r"(?i:^(?:s3[an]?|gs|gcs|az|abfss?|wasbs?|https?|ftps?|sftp|hdfs|hf):/(?:[^/]|$))"
_INLINE = r"(?i:^data:(?:[a-z0-9.+-]+/[a-z0-9.+-]+)?(?:;[^,]*)?,)"
_ANONYMOUS, _REQUESTER_PAYS = "M3RAY_ANONYMOUS_BUCKETS", "M3RAY_REQUESTER_PAYS_BUCKETS"


def parse_scheme(uri: str) -> str:
    """Parse the scheme of a URI.

    Args:
        uri: path or URI.
    Returns:
        The scheme; 'file' for a path.
    Raises:
        ConfigError: If m3ray cannot read URIs of that scheme.
    """
    scheme, slashes, _ = uri.partition("://")
    if not slashes:
        return "file"
    if scheme not in READABLE:
        raise ConfigError(describe_unknown_scheme(uri))
    return scheme


def describe_unknown_scheme(uri: str) -> str:
    """Explain why a URI is not read, and which are.

    Args:
        uri: URI of another scheme.
    Returns:
        The explanation, without secrets.
    """
    scheme = redact(uri).partition("://")[0]
    return f"{scheme}:// is not read, just paths and {', '.join(READABLE)}: {BY_CODE['unknown_scheme'].advice}"


def lower_schemes(uris: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write schemes in small letters: their case means nothing (RFC 3986), but readers depend on it.

    Args:
        uris: paths and URIs of a catalogue.
    Returns:
        The same with each scheme that m3ray reads in small letters.
    """
    if not pc.any(pc.match_substring_regex(uris, "^[a-z]*[A-Z][A-Za-z]*:")).as_py():
        return uris
    for scheme in READABLE:
        slashes = "/" if scheme == "file" else "//"
        uris = pc.replace_substring_regex(uris, f"^(?i:{scheme}):{slashes}", f"{scheme}:{slashes}")
    return uris


def check_uris(uris: pa.ChunkedArray, numbers: np.ndarray | None = None) -> None:
    """Check that no URI carries a secret, and that m3ray can read each one's scheme.

    Args:
        uris: URIs of a catalogue; null or empty where a clip has no video.
        numbers: number of each row in the user's file, int64, (rows,); None for 1, 2, ...
    Raises:
        SchemaError: If a row fails the check; the first such row is named.
    """
    numbers = np.arange(1, len(uris) + 1) if numbers is None else numbers
    secret = find_secret_rows(uris)
    if len(secret):
        raise SchemaError(
            f"row {numbers[secret[0]]}: the uri carries credentials, which would stand in tables and logs: "
            f"{BY_CODE['secret_in_uri'].advice}"
        )
    is_uri = pc.match_substring_regex(uris, f"://|{_ONE_SLASH}|{_INLINE}")
    unread = pc.and_(is_uri, pc.invert(pc.match_substring_regex(uris, _SERVED)))
    rows = np.flatnonzero(pc.fill_null(unread, False).to_numpy())
    if len(rows):
        raise SchemaError(f"row {numbers[rows[0]]}: {_explain_unread(uris[int(rows[0])].as_py())}")


def _explain_unread(uri: str) -> str:
    scheme, _, rest = uri.partition(":")
    if re.match(_INLINE, uri):
        return f"a video inside its uri ({scheme}:) is not read: write it to a file, and give that file's path"
    if re.match(_ONE_SLASH, uri):
        return (
            f"{scheme}:/ has one slash and would pass for a local path: write {scheme.lower()}:/{rest}, or "
            f"./{scheme}:/ for a folder of that name"
        )
    return describe_unknown_scheme(uri)


def access_as_environment(config: StorageConfig) -> dict[str, str]:
    """Environment variables that tell a process how buckets are accessed.

    Args:
        config: which buckets are read anonymously, and which at the requester's cost.
    Returns:
        Each variable to its value.
    """
    return {_ANONYMOUS: _join_buckets(config.anonymous), _REQUESTER_PAYS: _join_buckets(config.requester_pays)}


def read_access_environment() -> dict[str, str]:
    """Read the variables that tell this process how buckets are accessed, to pass them to another process."""
    return {name: os.environ.get(name, "") for name in (_ANONYMOUS, _REQUESTER_PAYS)}


def _join_buckets(buckets: Iterable[str]) -> str:
    """Join names of buckets, given as names or as URIs."""
    return ",".join(bucket.removeprefix("s3://").partition("/")[0] for bucket in buckets)


def is_anonymous(bucket: str) -> bool:
    """Tell whether a bucket is read without credentials, as public ones may be.

    Args:
        bucket: name of the bucket.
    Returns:
        Whether it is.
    """
    return bucket in _read_buckets(_ANONYMOUS)


def is_requester_pays(bucket: str) -> bool:
    """Tell whether this account pays for its requests to a bucket.

    Args:
        bucket: name of the bucket.
    Returns:
        Whether it does.
    """
    return bucket in _read_buckets(_REQUESTER_PAYS)


def s3_access_options(bucket: str) -> Mapping[str, bool]:
    """Options of an S3 client for a bucket.

    Args:
        bucket: name of the bucket.
    Returns:
        Name of each option to its value; empty for most buckets.
    """
    options = {"skip_signature": is_anonymous(bucket), "request_payer": is_requester_pays(bucket)}
    return {name: value for name, value in options.items() if value}


def _read_buckets(variable: str) -> list[str]:
    return [name for name in os.environ.get(variable, "").split(",") if name]
