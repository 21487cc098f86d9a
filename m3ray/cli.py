"""Command lines of the jobs: from arguments to a checked request, from errors to one line and an exit status."""

from __future__ import annotations

import dataclasses
import io
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, suppress
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro

from m3ray import __version__
from m3ray.config.options import RootOptions
from m3ray.console import configure_console
from m3ray.errors import ConfigError, M3RayError

if TYPE_CHECKING:
    from m3ray.request.checks import Request

logger = logging.getLogger(__name__)

T = TypeVar("T", bound=RootOptions)

INTERRUPTED = 130
# Old spellings of options, which go on working: a group with all that is in it, or one option of a group.
OLD_OPTIONS = {
    "full": "finetune",
    "moments": "sliding-windows",
    "limits.strikes": "limits.crash-count",
}
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_MISSING_VALUE = re.compile(r"Missing value for argument '--(\S+)'")
_BOX = str.maketrans(dict.fromkeys("╭╮╰╯│─┌┐└┘", " "))
# What follows in tyro's box is help, which --help gives whole.
_HELP = ("For full helptext", "Argument helptext")


def main(options: type[T], job: Callable[[Request[T]], None], description: str) -> int:
    """Run a job on the command line's options.

    An error is one line, the last one, after the job's result; its traceback is in the run's log.

    Args:
        options: dataclass that the command line is made from.
        job: function that carries the checked request out.
        description: text that `--help` begins with.
    Returns:
        The exit status. 0: done, perhaps with rejects, whose count is logged; 1: failed; 2: the request cannot be
        carried out; 130: Ctrl-C.
    """
    _tolerate_any_text()
    configure_console()
    request: Request[T] | None = None
    try:
        request = _read_request(options, description)
        job(request)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError as error:
        if request is not None:
            return _report_failure(options, request, error)
        # Whoever read along is gone (`--help | head`); Python would complain once more as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _report_failure(options, request, error)
    return 0


def _read_request(options: type[T], description: str) -> Request[T]:
    """Options with the root's record in place of defaults, and all that was read while they were checked."""
    arguments = rename_old_options(options, sys.argv[1:])
    parsed = _parse_options(options, description, arguments)
    # Imported once the options are sound: --help then answers at once, and this line stands before anything is waited
    # for, be it imports, a bucket or a cluster.
    from m3ray.storage.secrets import redact

    logger.info(f"{_job_name(options)}: starting: m3ray {__version__}, root {redact(parsed.out)}")
    from m3ray.pipelines.runtime.address import check_address, read_address
    from m3ray.request.checks import check_request, needs_ray, read_recorded_options
    from m3ray.request.storage import check_secrets

    check_secrets(parsed)
    recorded = read_recorded_options(options, parsed.out)
    if recorded is not None:
        parsed = _parse_options(options, description, arguments, recorded)
    request = check_request(parsed)
    if needs_ray(request.options):
        check_address(read_address())
    return request


def _parse_options(options: type[T], description: str, arguments: Sequence[str], default: T | None = None) -> T:
    """Raise ConfigError for arguments that are none of this job's."""
    stderr = io.StringIO()
    defaults: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with redirect_stderr(stderr):
            return tyro.cli(options, description=description, args=arguments, **defaults)
    except SystemExit as exit_request:
        if not exit_request.code:  # --help
            raise
        message = _explain(options, _flatten_box(stderr.getvalue()))
        raise ConfigError(f"{message}; --help explains the options") from None


def rename_old_options(options: type[Any], arguments: Sequence[str]) -> list[str]:
    """Replace old spellings of options by today's, and log a line for each.

    Args:
        options: dataclass that the command line is made from; a spelling that it does not have is left alone.
        arguments: command line, without the program's name.
    Returns:
        The command line in today's spelling.
    """
    renamed = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        new = _new_spelling(options, name)
        if new != name:
            logger.warning(f"{name} is now called {new}; the old name still works")
        renamed.append(f"{new}{equals}{value}")
    return renamed


def _new_spelling(options: type[Any], name: str) -> str:
    path = name.removeprefix("--").replace("_", "-")
    for old, new in OLD_OPTIONS.items():
        renamed = f"{new}{path.removeprefix(old)}"
        if name.startswith("--") and (path == old or path.startswith(f"{old}.")) and _has_option(options, renamed):
            return f"--{renamed}"
    return name


def _has_option(options: type[Any], path: str) -> bool:
    return _option_type(options, path) is not None


def _option_type(options: type[Any], path: str) -> Any:
    """Type of the field of this dotted path in nested dataclasses; None if there is no such field."""
    kind: Any = options
    for name in path.replace("-", "_").split("."):
        if not dataclasses.is_dataclass(kind) or name not in {field.name for field in dataclasses.fields(kind)}:
            return None
        kind = get_type_hints(kind)[name]
    return kind


def _explain(options: type[Any], message: str) -> str:
    """Name the choices of an option that was given without its value, which tyro leaves out."""
    option = _MISSING_VALUE.search(message)
    kind = None if option is None else _option_type(options, option[1])
    if option is None or get_origin(kind) is not Literal:
        return message
    return f"--{option[1]} has no value: give one of {', '.join(map(str, get_args(kind)))}"


def _flatten_box(text: str) -> str:
    """What tyro draws a box around, as one line."""
    lines = []
    for line in _COLOURS.sub("", text).translate(_BOX).splitlines():
        if line.strip().startswith(_HELP):
            break
        lines.append(line.strip())
    return " ".join(" ".join(lines[1:] or lines).split())


def _report_failure(options: type[T], request: Request[T] | None, error: Exception) -> int:
    """Print what went wrong as the job's last line; return the exit status."""
    from m3ray.console import escape_unencodable
    from m3ray.pipelines.runtime.failures import as_m3ray_error, as_traceback
    from m3ray.storage.secrets import redact

    failure, name = as_m3ray_error(error), _job_name(options)
    text = " ".join(str(failure).splitlines())
    if not failure.is_reported:
        logger.error(f"{name}: result: failed: the error stands in the last line")
        log = None if isinstance(error, M3RayError) else _write_log(as_traceback(error), name, request)
        text += f"; traceback in {log}" if log else ""
    # A command line that cannot be read is quoted, with whatever stands in it.
    print(escape_unencodable(f"error: {redact(text)}", sys.stderr), file=sys.stderr, flush=True)
    return failure.exit_status


def _job_name(options: type[T]) -> str:
    return options.__name__.removesuffix("Options").lower()


def _write_log(text: str, name: str, request: Request[T] | None) -> str | None:
    """Write what happened outside the job proper under its root, or else to a temporary file; return where."""
    from m3ray.console import write_temporary_log
    from m3ray.pipelines.runtime.progress import run_name
    from m3ray.storage.ownership import is_root
    from m3ray.storage.root import Root

    if request is not None and not request.options.dry_run:
        with suppress(Exception):  # whatever keeps the root from being written: the log then lies elsewhere
            root, folder = Root(request.options.out), ("runs", run_name(name, time.time()))
            if is_root(root):
                root.write_bytes(text.encode(errors="backslashreplace") + b"\n", *folder, "log.txt")
                return root.display(*folder, "log.txt")
    return write_temporary_log(text)


def _tolerate_any_text() -> None:
    """Escape what the terminal's encoding lacks: no name may end a job, whoever prints it."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
