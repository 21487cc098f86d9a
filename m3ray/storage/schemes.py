"""Which URIs a clip may have, and their access: what stands in a catalogue is checked before the first clip is read."""

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
from m3ray.storage.secrets import redacted, secret_rows

# gs, az and abfs take their credentials from the environment, as Google's and Microsoft's tools do.
READABLE = ("s3", "gs", "az", "abfs", "abfss", "http", "https", "file")
_SERVED = rf"^(?:{'|'.join(READABLE)})://"
# Without two slashes these would pass for names of local files.
_ONE_SLASH = r"(?i:^(?:s3[an]?|gs|gcs|az|abfss?|wasbs?|https?|ftps?|sftp|hdfs|hf):/(?:[^/]|$))"
_INLINE = r"(?i:^data:(?:[a-z0-9.+-]+/[a-z0-9.+-]+)?(?:;[^,]*)?,)"
_ANONYMOUS, _REQUESTER_PAYS = "M3RAY_ANONYMOUS_BUCKETS", "M3RAY_REQUESTER_PAYS_BUCKETS"


def scheme_of(uri: str) -> str:
    """The scheme of a URI; `file` for a path.

    Raises:
        ConfigError: no reader serves it.
    """
    scheme, slashes, _ = uri.partition("://")
    if not slashes:
        return "file"
    if scheme not in READABLE:
        raise ConfigError(unknown_scheme(uri))
    return scheme


def unknown_scheme(uri: str) -> str:
    """Why a URI is not served, and what is."""
    scheme = redacted(uri).partition("://")[0]
    return f"{scheme}:// is not read, just paths and {', '.join(READABLE)}: {BY_CODE['unknown_scheme'].advice}"


def with_lower_schemes(uris: pa.ChunkedArray) -> pa.ChunkedArray:
    """URIs with the schemes that are read in small letters: case tells nothing (RFC 3986), but readers go by it."""
    if not pc.any(pc.match_substring_regex(uris, "^[a-z]*[A-Z][A-Za-z]*:")).as_py():
        return uris
    for scheme in READABLE:
        slashes = "/" if scheme == "file" else "//"
        uris = pc.replace_substring_regex(uris, f"^(?i:{scheme}):{slashes}", f"{scheme}:{slashes}")
    return uris


def check_uris(uris: pa.ChunkedArray, numbers: np.ndarray | None = None) -> None:
    """Raises SchemaError for the first row whose URI carries a secret, or has a scheme that nothing reads.

    Args:
        uris: a catalogue's; null and empty where a clip has no video.
        numbers: of the rows in the user's file, (rows,); None: from 1.
    """
    numbers = np.arange(1, len(uris) + 1) if numbers is None else numbers
    secret = secret_rows(uris)
    if len(secret):
        raise SchemaError(
            f"row {numbers[secret[0]]}: the uri carries credentials, which would stand in tables and logs: "
            f"{BY_CODE['secret_in_uri'].advice}"
        )
    foreign = pc.match_substring_regex(uris, f"://|{_ONE_SLASH}|{_INLINE}")
    unread = pc.and_(foreign, pc.invert(pc.match_substring_regex(uris, _SERVED)))
    rows = np.flatnonzero(pc.fill_null(unread, False).to_numpy())
    if len(rows):
        raise SchemaError(f"row {numbers[rows[0]]}: {_unread(uris[int(rows[0])].as_py())}")


def _unread(uri: str) -> str:
    scheme, _, rest = uri.partition(":")
    if re.match(_INLINE, uri):
        return f"a video inside its uri ({scheme}:) is not read: write it to a file, and give that file's path"
    if re.match(_ONE_SLASH, uri):
        return (
            f"{scheme}:/ has one slash and would pass for a local path: write {scheme.lower()}:/{rest}, or "
            f"./{scheme}:/ for a folder of that name"
        )
    return unknown_scheme(uri)


def as_environment(config: StorageConfig) -> dict[str, str]:
    """How a process is told: what it finds in its environment."""
    return {_ANONYMOUS: _joined(config.anonymous), _REQUESTER_PAYS: _joined(config.requester_pays)}


def access_environment() -> dict[str, str]:
    """What this process was told, for another one."""
    return {name: os.environ.get(name, "") for name in (_ANONYMOUS, _REQUESTER_PAYS)}


def _joined(buckets: Iterable[str]) -> str:
    """Buckets by name, whether they were given so or as URIs."""
    return ",".join(bucket.removeprefix("s3://").partition("/")[0] for bucket in buckets)


def is_anonymous(bucket: str) -> bool:
    """Whether a bucket is read without credentials, as public ones may be."""
    return bucket in _listed(_ANONYMOUS)


def is_paid_by_us(bucket: str) -> bool:
    """Whether requests to a bucket say that whoever asks pays."""
    return bucket in _listed(_REQUESTER_PAYS)


def access_of(bucket: str) -> Mapping[str, bool]:
    """The options of a client of S3 for a bucket; none for most."""
    options = {"skip_signature": is_anonymous(bucket), "request_payer": is_paid_by_us(bucket)}
    return {name: value for name, value in options.items() if value}


def _listed(variable: str) -> list[str]:
    return [name for name in os.environ.get(variable, "").split(",") if name]
