"""Whatever a library, Ray or the machine raises, as one line: what happened, on what, what to do. Imports none of them.

An exception of a worker arrives inside Ray's own, its traceback as text: what it was is then read off that text.
"""

from __future__ import annotations

import errno
import re
import traceback

import m3ray.errors
from m3ray.errors import DecodeError, JobFailedError, M3RayError

_MOST_CHARACTERS = 600
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


def as_one_line(text: str) -> str:
    """Text on one line, without terminal colours.

    Args:
        text: any text.
    Returns:
        The text with single blanks in place of line breaks, cut after 600 characters.
    """
    line = " ".join(_COLOURS.sub("", text).split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]} ..."


def as_m3ray_error(error: BaseException) -> M3RayError:
    """The exception as one that says what happened and what to do.

    Args:
        error: exception of this process, or of a worker inside one of Ray's.
    Returns:
        The exception itself, or the worker's, if it is m3ray's; else a JobFailedError.
    """
    cause = _unwrap_task_error(error)
    if isinstance(cause, M3RayError):
        return cause if cause is error else _without_ray_hints(cause)
    name, text = name_and_text(cause)
    kind = getattr(m3ray.errors, name.removeprefix(_OWN), None) if name.startswith(_OWN) else None
    if isinstance(kind, type) and issubclass(kind, M3RayError) and not issubclass(kind, DecodeError):
        return kind(as_one_line(text))
    return JobFailedError(explain_exception(name, text))


def _without_ray_hints(cause: M3RayError) -> M3RayError:
    """The worker's error without the lines that Ray appends, whose hints are of no use to a user."""
    line, _, more = str(cause).partition("\n")
    return type(cause)(line) if more else cause


def _unwrap_task_error(error: BaseException) -> BaseException:
    """The exception that a Ray task raised, where it arrived whole."""
    cause = getattr(error, "cause", None)
    is_ours = isinstance(cause, M3RayError) and not isinstance(cause, DecodeError)
    return cause if is_ours else error  # type: ignore[return-value]


def name_and_text(error: BaseException) -> tuple[str, str]:
    """Name and text of what was raised, be it in another process.

    Args:
        error: exception of this process, or one whose text holds a worker's traceback.
    Returns:
        Name of the class with its module, and its text; of a worker's chain m3ray's own exception, else the first.
    """
    text = _COLOURS.sub("", str(error))
    remote = _RAISED.findall(text) if 'File "' in text or "Traceback" in text else []
    if remote:
        own = [match for match in remote if match[0].startswith(_OWN)]
        return (own or remote[:1])[-1]
    kind = type(error)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}", text


def explain_exception(name: str, text: str) -> str:
    """Explain an exception in one line: what happened and what to do.

    Args:
        name: name of the exception's class, with its module.
        text: text of the exception.
    Returns:
        The line.
    """
    short = name.rpartition(".")[2]
    number = _ERRNO.search(text)
    form = _BY_ERRNO.get(int(number[1])) if number else None
    if form is None:
        form = next((form for words, form in _BY_WORDS.items() if words in text), None)
    cause = as_one_line(f"{short}: {text}" if text else short)
    return as_one_line((form or _BY_NAME.get(short, _UNFORESEEN)).format(cause))


def as_traceback(error: BaseException) -> str:
    """The whole traceback, for a log.

    Args:
        error: exception, with its causes.
    Returns:
        Text of several lines.
    """
    return "".join(traceback.format_exception(error)).rstrip()
