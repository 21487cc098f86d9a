"""Secrets in URIs: found in any form that one can be written in, and taken out of what is said and kept."""

from __future__ import annotations

import re
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_HIDDEN = "***"
# Schemes that are known without their slashes too; before others, `x:y@z` may be a file's name.
_KNOWN = "s3[an]?|gs|gcs|az|abfss?|adls?|azure|wasbs?|https?|ftps?|sftp|hdfs|hf|oss|cos|obs|b2|r2|file"
_SCHEME = rf"(?:(?P<any>[a-z][a-z0-9+.-]*)://+|\b(?P<known>{_KNOWN}):/?(?!/))"
_START = re.compile(rf"^\s*{_SCHEME}", re.IGNORECASE)
_URI = re.compile(rf"{_SCHEME}[^\s'\"<>]+", re.IGNORECASE)
# Parameters that sign a request or let one in: AWS, Google, Azure, CloudFront, pyarrow, and what others call theirs.
_PARAMETERS = (
    r"x-amz-(?:signature|credential|security-token)|x-goog-(?:signature|credential)|googleaccessid|awsaccesskeyid|"
    r"signature|sig|key-pair-id|policy|accountkey|sharedaccesssignature|[a-z0-9_-]*token|jwt|authorization|auth|"
    r"(?:[a-z0-9]+[_-])*(?:access|secret|api)[_-]?key(?:[_-]?id)?|secret|client_secret|password|passwd|pwd"
)
_PARAMETER = re.compile(rf"[?&;#](?:{_PARAMETERS})=[^&;#]", re.IGNORECASE)
_USER_ALONE = ("http", "https", "ftp", "ftps", "s3", "s3a", "s3n")  # in others, a container stands before the @
# In RE2, over a whole column: what may hold a secret at all.
_SUSPECT = r"(?i)^\s*[a-z][a-z0-9+.-]*:.*(?:@|%40|=|%3d)"


def has_secret(uri: str) -> bool:
    """Whether a URI carries a password, a token or a signature: it would stand in every table and log."""
    start = _START.match(uri)
    if start is None:
        return False
    plain = unquote(uri[start.end() :])
    return _has_user((start["any"] or start["known"]).lower(), plain) or _PARAMETER.search(plain) is not None


def secret_rows(uris: pa.ChunkedArray) -> np.ndarray:
    """The rows of a column of URIs that carry secrets."""
    suspects = np.flatnonzero(pc.fill_null(pc.match_substring_regex(uris, _SUSPECT), False).to_numpy())
    return np.array([row for row in suspects if has_secret(uris[int(row)].as_py())], np.int64)


def redacted(text: str) -> str:
    """A text in which each URI that carries a secret is reduced to its scheme."""
    return _URI.sub(lambda uri: f"{uri['any'] or uri['known']}://{_HIDDEN}" if has_secret(uri[0]) else uri[0], text)


def _has_user(scheme: str, rest: str) -> bool:
    """Whether `user:password@` stands before the place.

    A secret key may hold slashes, so that the @ may come late; a key of an object may hold : and @ as well, but a
    bucket's name holds no colon, and what follows the colon of a host is a number.
    """
    place = rest.partition("/")[0]
    if "@" not in rest or place.startswith("arn:"):
        return False
    user = place.rpartition("@")[0] if "@" in place else place
    if scheme in _USER_ALONE and "@" in place:
        return True
    return ":" in user and ("@" in place or re.fullmatch(r"[^:]*:\d*", place) is None)
