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
Parsed = TypeVar("Parsed")

INTERRUPTED = 130
# Old spellings of options, which go on working: a group with all that is in it, or one option of a group.
OLD_OPTIONS = {
    "full": "finetune",
    "moments": "sliding-windows",
    "limits.strikes": "limits.crash-count",
}
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_MISSING_VALUE = re.compile(r"Missing value for argument '--(\S+)'")
_MISSING_WORD = re.compile(r"Missing from (?P<program>.+?): (?P<name>[A-Z]+) (?P<text>.+) \(required\)")
# A terminal without Unicode has such lines in place of a box.
_RULE = re.compile(r"-{4,}")
_BOX = str.maketrans(dict.fromkeys("╭╮╰╯│─┌┐└┘", " "))
# What follows in tyro's box is help, which --help gives whole.
_HELP = ("For full helptext", "Argument helptext")


def main(
    options: type[T],
    job: Callable[[Request[T]], None],
    description: str,
    arguments: Sequence[str] | None = None,
    program: str | None = None,
) -> int:
    """Run a job on the command line's options.

    An error is one line, the last one, after the job's result; its traceback is in the run's log.

    Args:
        options: dataclass that the command line is made from.
        job: function that carries the checked request out.
        description: text that `--help` begins with.
        arguments: command line, without the program's name; None: this process's.
        program: what help calls the program; None: its file's name.
    Returns:
        The exit status. 0: done, perhaps with rejects, whose count is logged; 1: failed; 2: the request cannot be
        carried out; 130: Ctrl-C.
    """
    _tolerate_any_text()
    configure_console()
    request: Request[T] | None = None
    try:
        request = _read_request(options, description, sys.argv[1:] if arguments is None else arguments, program)
        job(request)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError as error:
        if request is not None:
            return _report_failure(options, request, error)
        _leave_reader()
        return 0
    except Exception as error:
        return _report_failure(options, request, error)
    return 0


def run_command(action: Callable[[], int]) -> int:
    """Run what is no job, and turn errors into one line and an exit status as `main` does.

    Args:
        action: function that gives its exit status.
    Returns:
        That status; 1 or 2 where it raised an error; 130: Ctrl-C; 0 where whoever read along is gone.
    """
    _tolerate_any_text()
    try:
        status = action()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _leave_reader()
        return 0
    except Exception as error:
        return _print_failure(error)
    return status


def _leave_reader() -> None:
    """Whoever read along is gone (`--help | head`); Python would complain once more as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_failure(error: Exception) -> int:
    """Print an error that is no job's as one line; return the exit status."""
    from m3ray.console import escape_unencodable, write_temporary_log
    from m3ray.pipelines.runtime.failures import as_m3ray_error, as_traceback
    from m3ray.storage.secrets import redact

    failure = as_m3ray_error(error)
    text = " ".join(str(failure).splitlines())
    log = None if isinstance(error, M3RayError) else write_temporary_log(as_traceback(error))
    text += f"; traceback in {log}" if log else ""
    print(escape_unencodable(f"error: {redact(text)}", sys.stderr), file=sys.stderr, flush=True)
    return failure.exit_status


def _read_request(options: type[T], description: str, given: Sequence[str], program: str | None) -> Request[T]:
    """Options with the root's record in place of defaults, and all that was read while they were checked."""
    arguments = rename_old_options(options, given)
    parsed = parse_options(options, description, arguments, program=program)
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
        parsed = parse_options(options, description, arguments, recorded, program=program)
    request = check_request(parsed)
    if needs_ray(request.options):
        check_address(read_address())
    return request


def parse_options(
    options: type[Parsed],
    description: str,
    arguments: Sequence[str],
    default: Parsed | None = None,
    *,
    program: str | None = None,
) -> Parsed:
    """Make options from a command line.

    Args:
        options: dataclass that the command line is made from.
        description: text that `--help` begins with; `--help-all` is the same.
        arguments: command line, without the program's name.
        default: options in place of the dataclass's defaults.
        program: what help calls the program; None: its file's name.
    Returns:
        The options.
    Raises:
        ConfigError: If arguments are none of this command's.
    """
    stderr = io.StringIO()
    defaults: dict[str, Any] = {} if default is None else {"default": default}
    words = ["--help" if word == "--help-all" else word for word in arguments]
    try:
        with redirect_stderr(stderr):
            return tyro.cli(options, prog=program, description=description, args=words, **defaults)
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
    """Say which word is missing; name the choices of an option without its value, which tyro leaves out."""
    if word := _MISSING_WORD.fullmatch(message):
        return f"{word['program']}: {word['name']} is missing: {word['text'].rstrip('.')}"
    option = _MISSING_VALUE.search(message)
    kind = None if option is None else _option_type(options, option[1])
    if option is None or get_origin(kind) is not Literal:
        return message
    return f"--{option[1]} has no value: give one of {', '.join(map(str, get_args(kind)))}"


def _flatten_box(text: str) -> str:
    """What tyro draws a box around, as one line."""
    lines = []
    for line in _RULE.sub("", _COLOURS.sub("", text)).translate(_BOX).splitlines():
        if line.strip().startswith(_HELP):
            break
        lines.append(line.strip())
    lines = [line for line in lines if line]
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
