"""Whether this process may read the videos and write the root: tried out, as a user with other rights would try it."""

from __future__ import annotations

import re
import uuid
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
from m3ray.storage.fault_codes import fault_of
from m3ray.storage.faults import BY_CODE, CLIENT, POSIX, Fault, StorageFault, is_passing
from m3ray.storage.filesystems import is_local, one_line
from m3ray.storage.root import Root
from m3ray.storage.secrets import redacted
from m3ray.video.reader import patiently, read_head

T = TypeVar("T")
Action = Literal["read", "write", "delete"]
RIGHTS = ("AccessDenied", "AllAccessDisabled")
_ON_S3: dict[Action, str] = {"read": "s3:GetObject", "write": "s3:PutObject", "delete": "s3:DeleteObject"}
_MOST_SAID = 240
# S3's own message; else what stands behind the status, which the fault's name has; else pyarrow's.
_SERVER_SAID = re.compile(r"<Message>(.+?)</Message>|status code: \d+[A-Za-z ]*:?([^<]*)|AWS Error (.+)")
# Of a URI: scheme and bucket, and the first folder, as rights may be given by prefix; of a path: its first two folders.
_PLACE = r"(?s)^([A-Za-z][A-Za-z0-9+.-]*://[^/]+(?:/[^/]+/)?|file:/+[^/]+/(?:[^/]+/)?|/[^/]+/(?:[^/]+/)?).*$"
_MOST_PLACES, _CLIPS, _MOST_LOOKED_AT = 16, 4, 100_000


@dataclass(frozen=True)
class Refusal:
    """What a storage refused, or did not answer.

    Args:
        action: that was tried.
        uri: on what.
        code: of the table of errors.
        said: what the storage answered, one line without secrets.
    """

    action: Action
    uri: str
    code: str
    said: str = ""

    @property
    def fault(self) -> Fault:
        """Its row in the table of errors."""
        return BY_CODE[self.code]

    def words(self) -> str:
        """`cannot read s3://b/a.mp4: 403 AccessDenied (Access Denied)`."""
        return f"cannot {self.action} {redacted(self.uri)}: {self.fault.name}{f' ({self.said})' if self.said else ''}"

    def way_out(self, whose: str) -> str:
        """What to do.

        Args:
            whose: `the workers'`: whose rights are meant.
        """
        need = f"{_ON_S3[self.action]} on {_resource(self.uri)}"
        if self.code in RIGHTS and self.uri.startswith("s3://"):
            return f"give {whose} role {need}"
        if self.code == "NoCredentials" and self.uri.startswith("s3://"):
            return f"give {whose} machines a role with {need}, or set the keys in their environment"
        return f"{self.fault.advice} (on {whose} side)"


@dataclass(frozen=True)
class Look:
    """What became of reading clips of one place.

    Args:
        read: URI of one that was read; empty: none was.
        refusal: why none was; None where all that is wrong is the clips' own (they are missing), or passes.
    """

    read: str = ""
    refusal: Refusal | None = None


def places_of(uris: pa.ChunkedArray) -> tuple[tuple[str, ...], ...]:
    """A few clips of each bucket and prefix, or mount: of each there are several, as one may be missing.

    Args:
        uris: a catalogue's; null and empty where a clip has no video.
    """
    there = uris.filter(pc.fill_null(pc.not_equal(uris, ""), False))
    if not len(there):
        return ()
    there = there.take(np.linspace(0, len(there) - 1, min(len(there), _MOST_LOOKED_AT)).astype(int))
    places = pc.replace_substring_regex(there, _PLACE, r"\1").combine_chunks()
    names = places.dictionary_encode()
    codes = names.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(names.dictionary)))
    ends = np.append(starts[1:], len(order))
    return tuple(_spread(there, order[a:b]) for a, b in zip(starts[:_MOST_PLACES], ends, strict=False))


def _spread(uris: pa.ChunkedArray, rows: np.ndarray) -> tuple[str, ...]:
    """The first, the last, and some between: who lost a part of the clips lost neighbours."""
    chosen = dict.fromkeys(rows[np.linspace(0, len(rows) - 1, _CLIPS).astype(int)].tolist())
    return tuple(uris[row].as_py() for row in chosen)


def look(uris: Sequence[str]) -> Look:
    """Reads the first byte of one of some clips of a place.

    A missing clip says nothing of the rights. Where S3 may not be listed it calls a missing object forbidden, so that
    the others are asked too. A server that is busy says nothing either.
    """
    refused: Refusal | None = None
    for uri in uris:
        try:
            patiently(partial(read_head, uri))
            return Look(uri)
        except StorageFault as error:
            if refused is None and _is_told(error.fault):
                refused = Refusal("read", uri, error.fault.code, _said(error.__cause__ or error))
        except DecodeError:
            continue
    return Look(refusal=refused)


def write_refusal(uri: str) -> Refusal | None:
    """Writes an object under a root and deletes it; None: both may be done."""
    name = f"write-test-{uuid.uuid4().hex}"
    action: Action = "write"
    where = f"{uri}/runs/{name}"
    try:
        root = Root(uri)
        root.write_bytes(b"m3ray", "runs", name)
        action = "delete"
        root.delete("runs", name)
    except (OSError, ConfigError) as error:
        fault = fault_of(error.__cause__ or error, local=is_local(uri))
        code = fault.code if fault.kind == "storage" else "StorageError"
        return Refusal(action, where, code, _said(error))
    return None


def within(seconds: float, calls: Sequence[Callable[[], T]], late: Callable[[int], T]) -> list[T]:
    """The results of calls, all at once, none waited for longer than `seconds`.

    Args:
        calls: what they raise is raised here.
        late: from the number of a call that has not ended to its result.
    """
    futures: list[Future[Any]] = [Future() for _ in calls]
    for future, call in zip(futures, calls, strict=True):
        # Daemons: a client that hangs must not keep its process from ending.
        Thread(target=_settle, args=(future, call), daemon=True).start()
    wait(futures, timeout=seconds)
    return [future.result() if future.done() else late(k) for k, future in enumerate(futures)]


def _settle(future: Future[Any], call: Callable[[], Any]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)


def _is_told(fault: Fault) -> bool:
    """Whether a fault is worth stopping for: an archived object is its own, and a busy server passes."""
    return fault.attempts > 1 and (not is_passing(fault) or fault.source in (CLIENT, POSIX))


def _said(error: BaseException) -> str:
    """The server's message, or the client's words without its dump of structures."""
    text = redacted(one_line(error))
    found = _SERVER_SAID.search(text)
    return (next(filter(None, found.groups()), "").strip(" :") if found else text)[:_MOST_SAID]


def _resource(uri: str) -> str:
    bucket = uri.removeprefix("s3://").partition("/")[0]
    return f"arn:aws:s3:::{bucket}/*"
