"""From a command line to a call, and from errors to one line and an exit status."""

from __future__ import annotations

import io
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import tyro

from m3ray.config.options import RootOptions
from m3ray.errors import ConfigError, M3RayError

if TYPE_CHECKING:
    from m3ray.request.checks import Request

T = TypeVar("T", bound=RootOptions)

INTERRUPTED = 130
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_BOX = str.maketrans(dict.fromkeys("╭╮╰╯│─┌┐└┘", " "))
# What follows in tyro's box is help, which --help gives whole.
_HELP = ("For full helptext", "Argument helptext")


def main(options: type[T], job: Callable[[Request[T]], None], description: str) -> int:
    """Reads `options` off the command line, checks them, runs `job`, and returns the exit status.

    0: done, perhaps with rejects (their count is said); 1: failed; 2: the request cannot be carried out; 130: Ctrl-C.
    An error is one line, the last one, after the job's result; its traceback is in the run's log.
    """
    _take_any_text()
    asked: Request[T] | None = None
    try:
        asked = _asked(options, description)
        job(asked)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError as error:
        if asked is not None:
            return _failed(options, asked, error)
        # Whoever read along is gone (`--help | head`); Python would complain once more as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _failed(options, asked, error)
    return 0


def _asked(options: type[T], description: str) -> Request[T]:
    """The options, those that the root keeps in the place of defaults, and what was read while they were checked."""
    parsed = _parsed(options, description)
    # Imported once the options are sound: --help then answers at once.
    from m3ray.pipelines.runtime.address import check_address, given_address
    from m3ray.request.checks import needs_ray, options_of, prepared
    from m3ray.request.storage import check_secrets

    check_secrets(parsed)
    kept = options_of(options, parsed.out)
    asked = prepared(parsed if kept is None else _parsed(options, description, kept))
    if needs_ray(asked.options):
        check_address(given_address())
    return asked


def _parsed(options: type[T], description: str, default: T | None = None) -> T:
    """Raises ConfigError for a command line that is none of this job's."""
    said = io.StringIO()
    defaults: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with redirect_stderr(said):
            return tyro.cli(options, description=description, args=spelled_out(sys.argv[1:]), **defaults)
    except SystemExit as ended:
        if not ended.code:  # --help
            raise
        raise ConfigError(f"{_told(said.getvalue())}; --help explains the options") from None


def _told(box: str) -> str:
    """What tyro draws a box around, as one line."""
    found = []
    for line in _COLOURS.sub("", box).translate(_BOX).splitlines():
        if line.strip().startswith(_HELP):
            break
        found.append(line.strip())
    return " ".join(" ".join(found[1:] or found).split())


def _failed(options: type[T], asked: Request[T] | None, error: Exception) -> int:
    """Says what went wrong, as the job's last line."""
    from m3ray.console import printable, say
    from m3ray.pipelines.runtime.failures import as_traceback, foreseen
    from m3ray.storage.secrets import redacted

    failure, name = foreseen(error), options.__name__.removesuffix("Options").lower()
    text = " ".join(str(failure).splitlines())
    if not failure.told:
        say(f"{name}: result: failed: the error stands in the last line")
        place = None if isinstance(error, M3RayError) else _kept(as_traceback(error), name, asked)
        text += f"; traceback in {place}" if place else ""
    # A command line that cannot be read is quoted, with whatever stands in it.
    print(printable(f"error: {redacted(text)}", sys.stderr), file=sys.stderr, flush=True)
    return failure.exit_status


def _kept(log: str, name: str, asked: Request[T] | None) -> str | None:
    """The place of a log of what happened outside the job proper: under its root, once there is one."""
    from m3ray.console import kept_aside
    from m3ray.pipelines.runtime.progress import run_name
    from m3ray.storage.ownership import is_root
    from m3ray.storage.root import Root

    if asked is not None and not asked.options.dry_run:
        with suppress(Exception):  # whatever keeps the root from being written: the log then lies elsewhere
            root, folder = Root(asked.options.out), ("runs", run_name(name, time.time()))
            if is_root(root):
                root.write_bytes(log.encode(errors="backslashreplace") + b"\n", *folder, "log.txt")
                return root.display(*folder, "log.txt")
    return kept_aside(log)


def _take_any_text() -> None:
    """Names that the terminal's encoding lacks are escaped: they must not end a job, whoever prints them."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """`--unfrozen` without a value as `--unfrozen auto`."""
    out: list[str] = []
    for position, word in enumerate(arguments):
        out.append(word)
        following = arguments[position + 1 : position + 2]
        if word == "--unfrozen" and (not following or following[0].startswith("--")):
            out.append("auto")
    return out
