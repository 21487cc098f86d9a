"""Secrets in URIs: found in any form that one can be written in, and taken out of what is said and kept.

A URI carries a secret in its user part (`_has_user`) or in a parameter (`_has_parameter`). What a parameter's name
tells, for http(s) and any scheme but those below; names are cut into words at what is no letter and at camelCase:

| name | why |
|---|---|
| a word that ends in secret, signature, token, password, credential, hmac and the like | names nothing else |
| last word auth, pass, session, sign, sas, bearer, tok | else `sign_language=`, `session_number=`, `pass_count=` |
| access, account, api, auth, private, shared ... before key | other keys name things: `keyword=`, `primary_key=` |
| key alone, if its value begins as Google's keys do | else `key=videos/a.mp4` |
| policy, key-pair-id, rlkey, hdnea and others' own | CloudFront, Dropbox, Akamai |

A checksum (`md5=`, `hash=`) and a time (`expires=`) are none: alone they let nobody in. A name of a local file has no
parameters, and an object's neither: `?`, `&` and `#` are letters of a key. Of an object store's URI just the names that
a signed URL has, pasted with its scheme changed, and pyarrow's own (`access_key`, `secret_key`) are taken for one.
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
# Schemes that are known without their slashes too; before others, `x:y@z` may be a file's name.
_KNOWN = "|".join((*_STORES, "https?", "ftps?", "sftp", "hdfs", "hf", "file"))
_RUN = r"(?<![a-z0-9+.-])(?P<any>[a-z0-9+.-]+):(?P<slashes>//+)"
_SCHEME = rf"(?:{_RUN}|\b(?P<known>{_KNOWN}):/?(?!/)|(?<![\w:/.*-])(?P<none>//)(?!/))"
_START = re.compile(rf"\s*{_SCHEME}", re.IGNORECASE)
_WITHIN = re.compile(_RUN.replace("?P<any>", "").replace("?P<slashes>", ""), re.IGNORECASE)
# A blank after ? or & belongs to a parameter's name; a mark at the end to the sentence around it.
_URI = re.compile(rf"{_SCHEME}(?:[^\s'\"<>]|(?<=[?&;#])[ \t]+(?=\S))*[^\s'\"<>:;,.)]", re.IGNORECASE)
_ARN = re.compile(r"arn:aws[a-z-]*:[a-z0-9-]+:")
_USER_ALONE = ("http", "https", "ftp", "ftps", *_S3)  # in others, a container stands before the @
_DECODINGS = 16  # of percent signs that were encoded themselves

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
# In RE2, over a whole column: what may hold a secret at all.
_SUSPECT = r"(?is)(?:^\s*//|:).*(?:@|=|%(?:25)*(?:40|3d))"


def has_secret(uri: str) -> bool:
    """Whether a URI carries a password, a token or a signature: it would stand in every table and log."""
    rest, start = uri, _START.match(uri) or _next(uri)
    while start is not None:
        rest = _plain(rest[start.end() :])
        if _has_user(start, rest) or _has_parameter(_scheme(start), rest):
            return True
        # `file:` before a URI, and a URI in a parameter or a path.
        start = (_START.match(rest) if _scheme(start) == "file" else None) or _next(rest)
    return False


def secret_rows(uris: pa.ChunkedArray) -> np.ndarray:
    """The rows of a column of URIs that carry secrets."""
    suspects = np.flatnonzero(pc.fill_null(pc.match_substring_regex(uris, _SUSPECT), False).to_numpy())
    return np.array([row for row in suspects if has_secret(uris[int(row)].as_py())], np.int64)


def redacted(text: str) -> str:
    """A text in which each URI that carries a secret is reduced to its scheme."""
    return _URI.sub(lambda uri: _hidden(uri) if has_secret(uri[0]) else uri[0], text)


def _hidden(uri: re.Match[str]) -> str:
    return f"//{_HIDDEN}" if uri["none"] else f"{uri['any'] or uri['known']}://{_HIDDEN}"


def _next(text: str) -> re.Match[str] | None:
    """The next URI with its slashes, wherever it begins."""
    found = _WITHIN.search(text)
    return _START.match(text, found.start()) if found else None


def _scheme(start: re.Match[str]) -> str:
    return (start["any"] or start["known"] or "").lower()


def _plain(text: str) -> str:
    """Without percent-encoding, however often it was encoded."""
    for _ in range(_DECODINGS):
        if (decoded := unquote(text)) == text:
            break
        text = decoded
    return text


def _has_user(start: re.Match[str], rest: str) -> bool:
    """Whether `user:password@` stands before the place.

    A secret key may hold slashes, so that the @ may come late; a key of an object may hold : and @ as well, but a
    bucket's name holds no colon. Elsewhere what follows the colon of a host may be a port's number.
    """
    scheme, place = _scheme(start), rest.partition("/")[0]
    if "@" not in rest or _ARN.match(place) or (scheme == "file" and start["slashes"] != "//"):
        return False
    if scheme in _USER_ALONE and start["slashes"] and "@" in place:
        return True
    user = place.rpartition("@")[0] if "@" in place else place
    return ":" in user and ("@" in place or scheme in _S3 or re.fullmatch(r"[^:]*:\d*", place) is None)


def _has_parameter(scheme: str, rest: str) -> bool:
    if scheme == "file":
        return False
    if scheme in _STORES:
        # A SAS of Azure's has the shortest name.
        query = rest[rest.find("?") :] if "?" in rest else ""
        names = [_joined(name) for name, _ in _OBJECT_PARAMETER.findall(query)]
        return any(_SIGNED.fullmatch(name) or (name == "sig" and scheme in _AZURE) for name in names)
    return any(_names_secret(name, value) for name, value in _PARAMETER.findall(rest))


def _names_secret(name: str, value: str) -> bool:
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words:
        return False
    if any(map(_STRONG.search, words)) or _LAST.fullmatch(words[-1]) or _WHOLE.fullmatch(_joined(name)):
        return True
    return words[-1] == "key" and value.startswith(_GOOGLE_KEY)


def _joined(name: str) -> str:
    return "".join(_WORDS.findall(name)).lower()
