"""Secrets in URIs: found in whatever form they are written, and removed from messages and records.

A URI carries a secret in its user part (`_has_user`) or in a parameter (`_has_parameter`). For http(s) and all schemes
but those below, a parameter's name decides; names are split into words at characters that are no letters, and at
camelCase:

| name | why |
|---|---|
| a word that ends in secret, signature, token, password, credential, hmac and the like | names nothing else |
| last word auth, pass, session, sign, sas, bearer, tok | else `sign_language=`, `session_number=`, `pass_count=` |
| access, account, api, auth, private, shared ... before key | other keys name things: `keyword=`, `primary_key=` |
| key alone, if its value begins as Google's keys do | else `key=videos/a.mp4` |
| policy, key-pair-id, rlkey, hdnea and others' own | CloudFront, Dropbox, Akamai |

A checksum (`md5=`, `hash=`) and a time (`expires=`) are no secrets: they alone give no access. Local files have no
parameters, and objects have none either: `?`, `&` and `#` are letters of a key. In the URI of an object store the names
in a signed URL (its scheme may have been changed) and those of pyarrow (`access_key`, `secret_key`) alone count.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_HIDDEN = "***"
_S3 = ("s3", "s3a", "s3n")
_AZURE = ("az", "abfs", "abfss", "adl", "adls", "azure", "wasb", "wasbs")
_STORES = (*_S3, *_AZURE, "gs", "gcs", "oss", "cos", "obs", "b2", "r2")
# Schemes that are recognised without their slashes too; with another one, `x:y@z` may be a file's name.
_KNOWN = "|".join((*_STORES, "https?", "ftps?", "sftp", "hdfs", "hf", "file"))
_RUN = r"(?<![a-z0-9+.-])(?P<any>[a-z0-9+.-]+):(?P<slashes>//+)"
_SCHEME = rf"(?:{_RUN}|\b(?P<known>{_KNOWN}):/?(?!/)|(?<![\w:/.*-])(?P<none>//)(?!/))"
_START = re.compile(rf"\s*{_SCHEME}", re.IGNORECASE)
_WITHIN = re.compile(_RUN.replace("?P<any>", "").replace("?P<slashes>", ""), re.IGNORECASE)
# A blank after ? or & belongs to a parameter's name; a punctuation mark at the end to the sentence around the URI.
_URI = re.compile(rf"{_SCHEME}(?:[^\s'\"<>]|(?<=[?&;#])[ \t]+(?=\S))*[^\s'\"<>:;,.)]", re.IGNORECASE)
_ARN = re.compile(r"arn:aws[a-z-]*:[a-z0-9-]+:")
_USER_ALONE = ("http", "https", "ftp", "ftps", *_S3)  # in others, a container stands before the @
_MAX_DECODINGS = 16  # a percent sign may have been encoded itself, and so on

_PARAMETER = re.compile(r"[?&;#~]([^?&;#~=/]*)=\s*([^&;#\s][^&;#]{0,3})")
_OBJECT_PARAMETER = re.compile(r"[?&]([^?&=/]*)=()[^&]")
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
_STRONG = re.compile(
    r"(?:secret|signature|sig|token|tkn|password|passwd|pwd|passphrase|credential|hmac|jwt|authorization|oauth|"
    r"sess(?:ion)?id)s?$"
)
_LAST = re.compile(r"auth|pass|session|sign|sas|bearer|tok")
_WHOLE = re.compile(
    r"policy|keypairid|rlkey|hdne[a-z]|hdnt[a-z]|secretid|googleaccessid|.*(?:access|account|api|auth|client|"
    r"encryption|master|private|secret|session|shared|signing|storage|subscription)key(?:id)?s?"
)
_GOOGLE_KEY = "AIza"
_SIGNED = re.compile(
    r"x(?:amz|goog|oss|cos|obs)(?:signature|credential|securitytoken)|(?:aws|oss)?accesskeyid|googleaccessid|q?signature|"
    r"(?:access|secret)key|(?:session|security)token"
)
# In RE2, for a whole column: URIs that may hold a secret at all.
_SUSPECT = r"(?is)(?:^\s*//|:).*(?:@|=|%(?:25)*(?:40|3d))"


def has_secret(uri: str) -> bool:
    """Tell whether a URI carries a password, a token or a signature, which every table and log would show.

    Args:
        uri: path or URI.
    Returns:
        Whether it does.
    """
    rest, start = uri, _START.match(uri) or _find_next(uri)
    while start is not None:
        rest = _decode_percent(rest[start.end() :])
        if _has_user(start, rest) or _has_parameter(_scheme_of(start), rest):
            return True
        # There may be `file:` before a URI, and a URI in a parameter or a path.
        start = (_START.match(rest) if _scheme_of(start) == "file" else None) or _find_next(rest)
    return False


def find_secret_rows(uris: pa.ChunkedArray) -> np.ndarray:
    """Find the rows of a column whose URIs carry secrets.

    Args:
        uris: paths and URIs.
    Returns:
        Indices of the rows, int64.
    """
    suspects = np.flatnonzero(pc.fill_null(pc.match_substring_regex(uris, _SUSPECT), False).to_numpy())
    return np.array([row for row in suspects if has_secret(uris[int(row)].as_py())], np.int64)


def redact(text: str) -> str:
    """Reduce each URI in a text that carries a secret to its scheme.

    Args:
        text: message or value to show or keep.
    Returns:
        The text without the secrets.
    """
    return _URI.sub(lambda uri: _hide(uri) if has_secret(uri[0]) else uri[0], text)


def _hide(uri: re.Match[str]) -> str:
    return f"//{_HIDDEN}" if uri["none"] else f"{uri['any'] or uri['known']}://{_HIDDEN}"


def _find_next(text: str) -> re.Match[str] | None:
    """Find the next URI that has its slashes, wherever it begins."""
    start = _WITHIN.search(text)
    return _START.match(text, start.start()) if start else None


def _scheme_of(start: re.Match[str]) -> str:
    return (start["any"] or start["known"] or "").lower()


def _decode_percent(text: str) -> str:
    """Undo percent-encoding, however often it was applied."""
    for _ in range(_MAX_DECODINGS):
        if (decoded := unquote(text)) == text:
            break
        text = decoded
    return text


def _has_user(start: re.Match[str], rest: str) -> bool:
    """Whether `user:password@` comes before the host.

    A secret key may hold slashes, so that the @ may come late; the key of an object may hold : and @ as well, but the
    name of a bucket holds no colon. In other schemes the number of a port may follow the colon of a host.
    """
    scheme, host = _scheme_of(start), rest.partition("/")[0]
    if "@" not in rest or _ARN.match(host) or (scheme == "file" and start["slashes"] != "//"):
        return False
    if scheme in _USER_ALONE and start["slashes"] and "@" in host:
        return True
    user = host.rpartition("@")[0] if "@" in host else host
    return ":" in user and ("@" in host or scheme in _S3 or re.fullmatch(r"[^:]*:\d*", host) is None)


def _has_parameter(scheme: str, rest: str) -> bool:
    if scheme == "file":
        return False
    if scheme in _STORES:
        # A SAS of Azure's has the shortest name.
        query = rest[rest.find("?") :] if "?" in rest else ""
        names = [_join_words(name) for name, _ in _OBJECT_PARAMETER.findall(query)]
        return any(_SIGNED.fullmatch(name) or (name == "sig" and scheme in _AZURE) for name in names)
    return any(_names_secret(name, value) for name, value in _PARAMETER.findall(rest))


def _names_secret(name: str, value: str) -> bool:
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words:
        return False
    if any(map(_STRONG.search, words)) or _LAST.fullmatch(words[-1]) or _WHOLE.fullmatch(_join_words(name)):
        return True
    return words[-1] == "key" and value.startswith(_GOOGLE_KEY)


def _join_words(name: str) -> str:
    return "".join(_WORDS.findall(name)).lower()
