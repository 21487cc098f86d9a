"""Classification of exceptions by the table of errors, and of rejects whose reason says nothing of the clip."""

from __future__ import annotations

import errno
import re
from html import escape
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.schema import LISTING, TRANSIENT
from m3ray.storage.faults import AZURE, BY_CODE, CLIENT, FAULTS, POSIX, S3, Fault

# `<Code>X</Code>` as S3 and Azure write it, `AWS Error X_Y` as pyarrow does, `error (X)` as botocore does.
_CODES = re.compile(r"<Code>([A-Za-z.]+)</Code>|AWS Error ([A-Z_]+)|An error occurred \((\w+)\)")
_PLAIN = re.compile(r"\b(?:" + "|".join(f.code for f in FAULTS if f.source in (S3, AZURE)) + r")\b")
_STATUS = re.compile(r"HTTP status (\d{3})|status code: (\d{3})|HTTP Error (\d{3})")
_BY_STATUS = {
    301: "PermanentRedirect", 307: "TemporaryRedirect", 308: "PermanentRedirect", 401: "AccessDenied",
    403: "AccessDenied", 404: "missing_file", 408: "RequestTimeout", 410: "missing_file", 429: "SlowDown",
    500: "InternalError", 502: "ServiceUnavailable", 503: "SlowDown", 504: "ServiceUnavailable",
}  # fmt: skip
_SYNONYMS = {
    "NoSuchKey": "missing_file", "BlobNotFound": "missing_file", "ResourceNotFound": "missing_file",
    "NetworkConnection": "ConnectionFailed", "InternalFailure": "InternalError", "Throttling": "SlowDown",
    "RequestThrottled": "SlowDown", "InvalidClientTokenId": "InvalidAccessKeyId", "Redirect": "TemporaryRedirect",
    "AccessDeniedException": "AccessDenied", "ExpiredTokenException": "ExpiredToken",
}  # fmt: skip
# What a client says where no server answered, in the order of precedence.
_CREDENTIALS = re.compile(r"169\.254\.|(?:missing|locate|no) credentials|account must be", re.IGNORECASE)
_WORDS = (
    (re.compile(r"redirect", re.IGNORECASE), "PermanentRedirect"),
    (re.compile(r"timed ?out|(?<!retry_)timeout", re.IGNORECASE), "TimedOut"),
    (re.compile(r"kind: |connect|curlCode|reset|resolve|not known|broken pipe|IncompleteRead", re.IGNORECASE),
     "ConnectionFailed"),
)  # fmt: skip

_QUOTED = re.compile("'[^']*'")
_BY_WORDS = [pattern for pattern, _ in _WORDS]


def classify_error(error: BaseException, *, local: bool, uri: str = "") -> Fault:
    """Find the row of the table that an error of pyarrow, obstore, urllib or the system belongs to.

    Args:
        error: error as it was raised.
        local: whether a local file was requested: the error number of the system then decides.
        uri: URI that was requested, whose own words say nothing of the error.
    Returns:
        The row.
    """
    if local and isinstance(error, OSError):
        fault = BY_CODE.get(errno.errorcode.get(error.errno or 0, ""))
        is_missing = isinstance(error, FileNotFoundError)
        return fault or BY_CODE["missing_file" if is_missing else "unreadable_file"]
    text = _remove_key(str(error), uri)
    return BY_CODE[_find_code(text, "missing_file" if isinstance(error, FileNotFoundError) else "StorageError")]


def _remove_key(text: str, uri: str) -> str:
    """Remove the key from an error's text, if it holds words by which an error is recognised."""
    key = uri.partition("://")[2].partition("/")[2]
    if not key or not any(pattern.search(key) for pattern in (_CREDENTIALS, _CODES, _STATUS, _PLAIN, *_BY_WORDS)):
        return text
    for name in (key, quote(key), quote(key, safe=""), escape(key)):
        text = text.replace(name, "")
    return text


def _find_code(text: str, otherwise: str) -> str:
    """Find an error's code in its text: the server's own, then its status, then the client's words."""
    if _CREDENTIALS.search(text):  # its server's answers are not the storage's
        return "NoCredentials"
    for match in _CODES.finditer(text):
        camel, upper, boto = match.groups()
        name = (camel or boto or upper.title().replace("_", "")).partition(".")[0]
        name = _SYNONYMS.get(name, name)
        name = next((code for code in BY_CODE if code.lower() == name.lower()), "")
        if name:
            return name
    status = _STATUS.search(text)
    if status:
        number = int(next(filter(None, status.groups())))
        return _BY_STATUS.get(number, "InternalError" if number >= 500 else "StorageError")
    plain = _PLAIN.search(text)
    if plain:
        return plain[0]
    if otherwise == "missing_file":
        return otherwise
    return next((code for pattern, code in _WORDS if pattern.search(text)), otherwise)


# Older versions rejected clips as `unreadable_file` for the storage's faults, with the client's words in the message.


def is_transient_reject(rejects: pa.Table) -> pa.ChunkedArray:
    """Tell which rejects say nothing of their clip, so that the next job retries them by itself.

    Args:
        rejects: `stage`, `error` and `message` of the rejects, and `uri` if it is known.
    Returns:
        Whether each one is of that kind, as booleans.
    """
    older = pc.and_(pc.equal(rejects["error"], "unreadable_file"), pc.not_equal(rejects["stage"], LISTING))
    messages = rejects["message"].cast(pa.string())
    if "uri" in rejects.column_names and pc.any(older).as_py():  # the words of a path or key say nothing of the error
        pairs = zip(messages.to_pylist(), rejects["uri"].to_pylist(), strict=True)
        messages = pa.chunked_array(
            [[text and _QUOTED.sub("", text.replace(uri or "\0", "")) for text, uri in pairs]], pa.string()
        )
    storage = pc.fill_null(pc.match_substring_regex(messages, _older_pattern()), False)
    return pc.or_(pc.is_in(rejects["error"], value_set=pa.array(TRANSIENT)), pc.and_(older, storage))


def _older_pattern() -> str:
    """RE2 pattern of all faults of the storage in the words of pyarrow, of S3 and of the system."""
    faults = [fault for fault in FAULTS if fault.kind == "storage"]
    names = [fault.code for fault in faults if fault.source not in (POSIX, CLIENT) and fault.code != "KMS"]
    upper = [re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper() for name in names]
    numbers = [str(getattr(errno, f.code)) for f in faults if f.source == POSIX and hasattr(errno, f.code)]
    codes = "|".join([*names, *upper, "NETWORK_CONNECTION"])
    status = "HTTP status (?:30[178]|40[0138]|429|5[0-9][0-9])"
    return rf"\b(?:{codes})\b|{status}|\[[Ee]rrno (?:{'|'.join(numbers)})\]"
