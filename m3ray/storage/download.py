"""One file from an https or S3 address into a local file, checked against its hash before anybody sees it."""

from __future__ import annotations

import hashlib
import http
import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from m3ray.errors import BundleError, M3RayError
from m3ray.storage.filesystems import backoff_seconds, one_line, open_filesystem
from m3ray.storage.secrets import redact

_CHUNK = 1 << 20
_SECONDS = 60.0
_TRIES = 3
_LENGTH = re.compile(r"[0-9]{1,18}")  # int() takes no superscripts, and no thousands of digits


class Source(Protocol):
    """What is read from: an answer of a server, or a file in S3."""

    def read(self, size: int, /) -> bytes:
        """Read up to so many bytes."""


_HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.UnknownHandler,
)
Opener = Callable[[urllib.request.Request], AbstractContextManager[Any]]


class _EncryptedRedirects(urllib.request.HTTPRedirectHandler):
    """Follow an address to another one, but never to one that is not encrypted."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Follow it, or not; see `urllib.request.HTTPRedirectHandler`."""
        if not newurl.lower().startswith("https://"):
            raise BundleError(
                f"{redact(req.full_url)} leads on to {newurl.partition(':')[0]}://, expected https://: give the file's "
                "own https address"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_https(request: urllib.request.Request) -> AbstractContextManager[http.client.HTTPResponse]:
    """Open an https address, and those that it leads on to.

    Args:
        request: the address.
    Returns:
        The server's answer.
    Raises:
        OSError: If it is no https address, or cannot be opened.
    """
    # Not build_opener(): it adds what reads ftp, file and data addresses, and http.
    opener = urllib.request.OpenerDirector()
    for handler in (*(kind() for kind in _HANDLERS), _EncryptedRedirects()):
        opener.add_handler(handler)
    return opener.open(request, timeout=_SECONDS)


def download(location: str, target: Path, most_bytes: int, open_url: Opener = open_https) -> str:
    """Download a file, and try again where a server was busy or a connection broke.

    Args:
        location: https address or `s3://` URI.
        target: path that is written; what was there before is replaced.
        most_bytes: number of bytes at which the download is given up.
        open_url: opens an https address.
    Returns:
        SHA-256 of the file, hexadecimal.
    Raises:
        BundleError: If there is no such file, the storage or the network fails, or it is longer than `most_bytes`.
        ConfigError: If the address cannot be used.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            with target.open("wb") as file:
                if location.startswith("s3://"):
                    return _copy_from_s3(location, file, most_bytes)
                return _copy_from_web(location, file, most_bytes, open_url)
        except M3RayError:
            raise
        except (OSError, http.client.HTTPException) as error:
            if attempt == _TRIES or not _is_transient(error):
                raise _explain(location, error) from error
        time.sleep(backoff_seconds(attempt))
    raise AssertionError("unreachable: the last try returns or raises")


def _copy_from_web(url: str, file: BinaryIO, most_bytes: int, open_url: Opener) -> str:
    with open_url(urllib.request.Request(url, headers={"User-Agent": "m3ray"})) as answer:
        told = answer.headers.get("Content-Length") or ""
        expected = int(told) if _LENGTH.fullmatch(told) else None
        if expected is not None and expected > most_bytes:
            raise _too_long(url, most_bytes)
        digest, size = _copy(url, answer, file, most_bytes)
    if expected is not None and size != expected:
        raise http.client.IncompleteRead(b"", expected - size)
    return digest


def _copy_from_s3(uri: str, file: BinaryIO, most_bytes: int) -> str:
    files, path = open_filesystem(uri)
    with files.open_input_stream(path) as stream:
        return _copy(uri, stream, file, most_bytes)[0]


def _copy(location: str, source: Source, file: BinaryIO, most_bytes: int) -> tuple[str, int]:
    """Copy all bytes; return their SHA-256 and their number."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK):
        size += len(chunk)
        if size > most_bytes:
            raise _too_long(location, most_bytes)
        digest.update(chunk)
        file.write(chunk)
    return digest.hexdigest(), size


def _too_long(location: str, most_bytes: int) -> BundleError:
    return BundleError(f"{location} has more than {most_bytes >> 20:,} MiB, the most that is taken: it is no bundle")


def _is_transient(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR or error.code == http.HTTPStatus.TOO_MANY_REQUESTS
    reason = getattr(error, "reason", None)
    return not isinstance(error, FileNotFoundError | PermissionError) and not isinstance(reason, ssl.SSLError)


def _explain(location: str, error: Exception) -> BundleError:
    if isinstance(error, urllib.error.HTTPError):
        found = f"the server answers {error.code} {redact(' '.join(str(error.reason).split()))}"
    elif isinstance(error, http.client.IncompleteRead):
        found = f"the connection ended {error.expected or 0:,} bytes before the file did"
    elif isinstance(error, FileNotFoundError):
        found = "there is no such file"
    else:
        found = redact(one_line(error))
    return BundleError(f"cannot fetch {location} ({found}): check the address and the network, and run again")
