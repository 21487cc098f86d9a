"""Trying out whether this process may read the videos and write the root, before any work begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.errors import ConfigError, DecodeError
from m3ray.storage.fault_codes import classify_error
from m3ray.storage.faults import BY_CODE, CLIENT, POSIX, Fault, StorageFaultError, is_transient
from m3ray.storage.filesystems import is_local
from m3ray.storage.root import Root
from m3ray.storage.secrets import redact
from m3ray.storage.server_answers import parse_server_answer
from m3ray.storage.write_probe import WriteFailure, try_write
from m3ray.video.reader import read_head, retry_read

T = TypeVar("T")
Action = Literal["read", "write", "delete"]
RIGHTS = ("AccessDenied", "AllAccessDisabled")
_ON_S3: dict[Action, str] = {"read": "s3:GetObject", "write": "s3:PutObject", "delete": "s3:DeleteObject"}
_MAX_MESSAGE = 240
# Of a URI: scheme and bucket, and the first folder, as rights may be given by prefix; of a path: its first two folders.
_LOCATION = r"(?s)^([A-Za-z][A-Za-z0-9+.-]*://[^/]+(?:/[^/]+/)?|file:/+[^/]+/(?:[^/]+/)?|/[^/]+/(?:[^/]+/)?).*$"
_MAX_LOCATIONS, _CLIPS_PER_LOCATION, _MAX_URIS = 16, 4, 100_000


@dataclass(frozen=True)
class AccessFailure:
    """What a storage denied, or did not answer.

    Args:
        action: what was tried.
        uri: URI that it was tried on.
        code: code of the fault in the table of errors.
        message: what the storage answered, one line without secrets.
    """

    action: Action
    uri: str
    code: str
    message: str = ""

    @property
    def fault(self) -> Fault:
        """Row of the fault in the table of errors."""
        return BY_CODE[self.code]

    def describe(self) -> str:
        """Describe the failure in words: `cannot read s3://b/a.mp4: 403 AccessDenied (Access Denied)`."""
        message = f" ({self.message})" if self.message else ""
        return f"cannot {self.action} {redact(self.uri)}: {self.fault.name}{message}"

    def advice(self, whose: str) -> str:
        """Say what to do about it.

        Args:
            whose: whose rights are meant, such as "the workers'".
        Returns:
            A clause that begins with a verb.
        """
        need = f"{_ON_S3[self.action]} on {_s3_resource(self.uri)}"
        if self.code in RIGHTS and self.uri.startswith("s3://"):
            return f"give {whose} role {need}"
        if self.code == "NoCredentials" and self.uri.startswith("s3://"):
            return f"give {whose} machines a role with {need}, or set the keys in their environment"
        return f"{self.fault.advice} (on {whose} side)"


@dataclass(frozen=True)
class ReadProbe:
    """Result of trying to read clips of one location.

    Args:
        read: URI of a clip that was read; empty where none was.
        failure: why none was; None where the clips are merely missing, or the fault passes by itself.
    """

    read: str = ""
    failure: AccessFailure | None = None


def sample_locations(uris: pa.ChunkedArray) -> tuple[tuple[str, ...], ...]:
    """Pick a few clips of each bucket and prefix, or mount: several of each, as one may be missing.

    Args:
        uris: URI of each clip of a catalogue; null or empty where a clip has no video.
    Returns:
        For each location, at most 16 of them, up to four URIs.
    """
    videos = uris.filter(pc.fill_null(pc.not_equal(uris, ""), False))
    if not len(videos):
        return ()
    videos = videos.take(np.linspace(0, len(videos) - 1, min(len(videos), _MAX_URIS)).astype(int))
    locations = pc.replace_substring_regex(videos, _LOCATION, r"\1").combine_chunks().dictionary_encode()
    codes = locations.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(locations.dictionary)))
    ends = np.append(starts[1:], len(order))
    return tuple(_pick_spread(videos, order[a:b]) for a, b in zip(starts[:_MAX_LOCATIONS], ends, strict=False))


def _pick_spread(uris: pa.ChunkedArray, rows: np.ndarray) -> tuple[str, ...]:
    """The first, the last, and some between: if a part of the clips is missing, neighbours are."""
    chosen = dict.fromkeys(rows[np.linspace(0, len(rows) - 1, _CLIPS_PER_LOCATION).astype(int)].tolist())
    return tuple(uris[row].as_py() for row in chosen)


def probe_read(uris: Sequence[str]) -> ReadProbe:
    """Try to read the first byte of one of a few clips of a location.

    A missing clip says nothing of the rights. Where S3 may not be listed it calls a missing object forbidden, so that
    the others are tried too. A server that is busy says nothing either.

    Args:
        uris: URIs of the clips, tried in order until one can be read.
    Returns:
        Which clip was read, or why none was.
    """
    failure: AccessFailure | None = None
    for uri in uris:
        try:
            retry_read(partial(read_head, uri))
            return ReadProbe(uri)
        except StorageFaultError as error:
            if failure is None and _is_reported(error.fault):
                failure = AccessFailure("read", uri, error.fault.code, _server_message(error.__cause__ or error))
        except DecodeError:
            continue
    return ReadProbe(failure=failure)


def probe_write(uri: str) -> AccessFailure | None:
    """Try to write a file under a root and to delete it.

    Args:
        uri: URI of the root.
    Returns:
        What the storage denied; None where both may be done.
    """
    try:
        failure = try_write(Root(uri))
    except ConfigError as error:  # the URI itself cannot be opened
        failure = WriteFailure("write", f"{uri}/runs", error)
    if failure is None:
        return None
    fault = classify_error(failure.error.__cause__ or failure.error, local=is_local(uri))
    code = fault.code if fault.kind == "storage" else "StorageError"
    return AccessFailure(failure.action, failure.uri, code, _server_message(failure.error))


def run_with_timeout(seconds: float, calls: Sequence[Callable[[], T]], on_timeout: Callable[[int], T]) -> list[T]:
    """Run calls all at once and wait for none of them longer than a while.

    Args:
        seconds: longest wait, seconds.
        calls: functions to call, each in a thread; what they raise is raised here.
        on_timeout: from the index of a call that has not ended to the result to use instead.
    Returns:
        The result of each call, in their order.
    """
    futures: list[Future[Any]] = [Future() for _ in calls]
    for future, call in zip(futures, calls, strict=True):
        # Daemons: a client that hangs must not keep its process from ending.
        Thread(target=_settle, args=(future, call), daemon=True).start()
    wait(futures, timeout=seconds)
    return [future.result() if future.done() else on_timeout(k) for k, future in enumerate(futures)]


def _settle(future: Future[Any], call: Callable[[], Any]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)


def _is_reported(fault: Fault) -> bool:
    """Whether a fault is worth stopping for: an archived object concerns itself alone, and a busy server passes."""
    return fault.attempts > 1 and (not is_transient(fault) or fault.source in (CLIENT, POSIX))


def _server_message(error: BaseException) -> str:
    """The server's message, or the client's words, without secrets."""
    return redact(parse_server_answer(error).message)[:_MAX_MESSAGE]


def _s3_resource(uri: str) -> str:
    bucket = uri.removeprefix("s3://").partition("/")[0]
    return f"arn:aws:s3:::{bucket}/*"
