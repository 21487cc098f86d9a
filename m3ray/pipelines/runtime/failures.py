"""Whatever a library, Ray or the machine raises, as one line: what happened, on what, what to do. Imports none of them.

An exception of a worker arrives inside Ray's own, its traceback as text: what it was is then read off that text.
"""

from __future__ import annotations

import errno
import re
import traceback

import m3ray.errors
from m3ray.errors import DecodeError, JobFailedError, M3RayError

_MOST = 600
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# The last line of a traceback, of which a chain has several.
_RAISED = re.compile(r"^((?:[a-z_]\w*\.)+[A-Z]\w*|[A-Z]\w*(?:Error|Exception|Exit|Interrupt)): ?(.*)$", re.MULTILINE)
_OWN = "m3ray.errors."
_ERRNO = re.compile(r"\[[Ee]rrno (\d+)\]")
_AGAIN = "run the same command again, it goes on from what was committed"

_FULL = f"the disk is full ({{}}): free some space and {_AGAIN}"
_RIGHTS = "no right to read or write there ({}): check the path's owner and mode, or give another --out"
_MEMORY = f"memory ran out ({{}}): lower --compute.actors or --compute.clips-per-batch; {_AGAIN}"
_DIED = f"a worker process died ({{}}): a crash in native code, or memory; {_AGAIN}; Ray's logs tell more"
_LOST = f"Ray does not answer any more ({{}}): see whether its cluster is up (ray status), then {_AGAIN}"
_STORE = f"Ray's object store is full ({{}}): give the machine more memory or disk, then {_AGAIN}"
_DAMAGED = "a file of tensors is damaged or cut short ({}): delete it and run the job that makes it again"
_STORAGE = f"the storage does not answer, or refuses ({{}}): check bucket, endpoint and credentials, then {_AGAIN}"
_TEXT = "a name or a text cannot be encoded ({}): set PYTHONUTF8=1"
_UNFORESEEN = "{}: m3ray did not foresee this, the traceback tells where it was"

_BY_ERRNO = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _RIGHTS,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.ENOMEM: _MEMORY,
}
_BY_WORDS = {"No space left on device": _FULL, "AWS Error": _STORAGE}
_BY_NAME = {
    "OutOfDiskError": _FULL,
    "PermissionError": _RIGHTS,
    "MemoryError": _MEMORY,
    "OutOfMemoryError": _MEMORY,
    "WorkerCrashedError": _DIED,
    "ActorDiedError": _DIED,
    "ActorUnavailableError": _DIED,
    "NodeDiedError": _DIED,
    "OwnerDiedError": _DIED,
    "ObjectLostError": _DIED,
    "ObjectReconstructionFailedError": _DIED,
    "LocalRayletDiedError": _LOST,
    "RpcError": _LOST,
    "RaySystemError": _LOST,
    "GetTimeoutError": _LOST,
    "ConnectionError": _LOST,
    "ObjectStoreFullError": _STORE,
    "SafetensorError": _DAMAGED,
    "UnicodeEncodeError": _TEXT,
}


def in_one_line(text: str) -> str:
    """`text` on a line, without colours, and not endless."""
    line = " ".join(_COLOURS.sub("", text).split())
    return line if len(line) <= _MOST else f"{line[:_MOST]} ..."


def foreseen(error: BaseException) -> M3RayError:
    """An error that says what happened and what to do: `error` itself if it is m3ray's, else one made of it."""
    cause = _cause(error)
    if isinstance(cause, M3RayError):
        return cause if cause is error else _as_raised(cause)
    name, text = raised(cause)
    kind = getattr(m3ray.errors, name.removeprefix(_OWN), None) if name.startswith(_OWN) else None
    if isinstance(kind, type) and issubclass(kind, M3RayError) and not issubclass(kind, DecodeError):
        return kind(in_one_line(text))
    return JobFailedError(words(name, text))


def _as_raised(cause: M3RayError) -> M3RayError:
    """A worker's error without what Ray appends to its one line; its own hints are of no use to whoever reads it."""
    line, _, more = str(cause).partition("\n")
    return type(cause)(line) if more else cause


def _cause(error: BaseException) -> BaseException:
    """What a Ray task raised, where it arrived whole."""
    cause = getattr(error, "cause", None)
    is_ours = isinstance(cause, M3RayError) and not isinstance(cause, DecodeError)
    return cause if is_ours else error  # type: ignore[return-value]


def raised(error: BaseException) -> tuple[str, str]:
    """Name and text of what was raised, be it in another process: m3ray's own words, else what the chain began with."""
    text = _COLOURS.sub("", str(error))
    far = _RAISED.findall(text) if 'File "' in text or "Traceback" in text else []
    if far:
        own = [found for found in far if found[0].startswith(_OWN)]
        return (own or far[:1])[-1]
    kind = type(error)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}", text


def words(name: str, text: str) -> str:
    """A line of what happened and what to do.

    Args:
        name: of the exception's class, with its module.
        text: that it says.
    """
    short = name.rpartition(".")[2]
    number = _ERRNO.search(text)
    form = _BY_ERRNO.get(int(number[1])) if number else None
    if form is None:
        form = next((found for marked, found in _BY_WORDS.items() if marked in text), None)
    said = in_one_line(f"{short}: {text}" if text else short)
    return in_one_line((form or _BY_NAME.get(short, _UNFORESEEN)).format(said))


def as_traceback(error: BaseException) -> str:
    """The whole traceback, for a log."""
    return "".join(traceback.format_exception(error)).rstrip()
