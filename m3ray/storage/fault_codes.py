"""Which row of the table of errors an exception belongs to, and which older rejects were no clip's own fault."""

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
_OTHER_NAMES = {
    "NoSuchKey": "missing_file", "BlobNotFound": "missing_file", "ResourceNotFound": "missing_file",
    "NetworkConnection": "ConnectionFailed", "InternalFailure": "InternalError", "Throttling": "SlowDown",
    "RequestThrottled": "SlowDown", "InvalidClientTokenId": "InvalidAccessKeyId", "Redirect": "TemporaryRedirect",
    "AccessDeniedException": "AccessDenied", "ExpiredTokenException": "ExpiredToken",
}  # fmt: skip
# In order: what a client says where no server answered.
_CREDENTIALS = re.compile(r"169\.254\.|(?:missing|locate|no) credentials|account must be", re.IGNORECASE)
_WORDS = (
    (re.compile(r"redirect", re.IGNORECASE), "PermanentRedirect"),
    (re.compile(r"timed ?out|(?<!retry_)timeout", re.IGNORECASE), "TimedOut"),
    (re.compile(r"kind: |connect|curlCode|reset|resolve|not known|broken pipe|IncompleteRead", re.IGNORECASE),
     "ConnectionFailed"),
)  # fmt: skip

_QUOTED = re.compile("'[^']*'")
_BY_WORDS = [pattern for pattern, _ in _WORDS]


def fault_of(error: BaseException, *, local: bool, uri: str = "") -> Fault:
    """The row of the table that an error of pyarrow, obstore, urllib or the system belongs to.

    Args:
        error: as it was raised.
        local: whether a file of this machine was asked for: the system's error number then decides.
        uri: that was asked for: its own words say nothing of the error.
    """
    if local and isinstance(error, OSError):
        known = BY_CODE.get(errno.errorcode.get(error.errno or 0, ""))
        missing = isinstance(error, FileNotFoundError)
        return known or BY_CODE["missing_file" if missing else "unreadable_file"]
    text = _without_name(str(error), uri)
    return BY_CODE[_code_in(text, "missing_file" if isinstance(error, FileNotFoundError) else "StorageError")]


def _without_name(text: str, uri: str) -> str:
    """An error's text without the key, where that holds words which an error could be known by."""
    key = uri.partition("://")[2].partition("/")[2]
    if not key or not any(pattern.search(key) for pattern in (_CREDENTIALS, _CODES, _STATUS, _PLAIN, *_BY_WORDS)):
        return text
    for name in (key, quote(key), quote(key, safe=""), escape(key)):
        text = text.replace(name, "")
    return text


def _code_in(text: str, otherwise: str) -> str:
    """The code of an error's text: the server's own, then its status, then the client's words."""
    if _CREDENTIALS.search(text):  # its server's answers are not the storage's
        return "NoCredentials"
    for match in _CODES.finditer(text):
        camel, upper, boto = match.groups()
        name = (camel or boto or upper.title().replace("_", "")).partition(".")[0]
        name = _OTHER_NAMES.get(name, name)
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


# Rejects of before there was this table: `unreadable_file` with the client's words in the message.


def are_passing(rejects: pa.Table) -> pa.ChunkedArray:
    """Whether each reject says nothing of its clip, so that it is tried again by itself.

    Args:
        rejects: `stage`, `error`, `message`; older versions rejected clips for the storage's faults.
    """
    older = pc.and_(pc.equal(rejects["error"], "unreadable_file"), pc.not_equal(rejects["stage"], LISTING))
    said = rejects["message"].cast(pa.string())
    if "uri" in rejects.column_names and pc.any(older).as_py():  # a path or a key may be named anything
        pairs = zip(said.to_pylist(), rejects["uri"].to_pylist(), strict=True)
        said = pa.chunked_array(
            [[text and _QUOTED.sub("", text.replace(uri or "\0", "")) for text, uri in pairs]], pa.string()
        )
    storage = pc.fill_null(pc.match_substring_regex(said, _older_words()), False)
    return pc.or_(pc.is_in(rejects["error"], value_set=pa.array(TRANSIENT)), pc.and_(older, storage))


def _older_words() -> str:
    """A pattern of RE2 for each fault of the storage in the words of pyarrow, of S3 and of the system."""
    faults = [fault for fault in FAULTS if fault.kind == "storage"]
    names = [fault.code for fault in faults if fault.source not in (POSIX, CLIENT) and fault.code != "KMS"]
    upper = [re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper() for name in names]
    numbers = [str(getattr(errno, f.code)) for f in faults if f.source == POSIX and hasattr(errno, f.code)]
    codes = "|".join([*names, *upper, "NETWORK_CONNECTION"])
    status = "HTTP status (?:30[178]|40[0138]|429|5[0-9][0-9])"
    return rf"\b(?:{codes})\b|{status}|\[[Ee]rrno (?:{'|'.join(numbers)})\]"
