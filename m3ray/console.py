"""What a person reads: log lines on the console, and their copy for the run's record.

On a terminal, a line of progress replaces the one before, at the foot of the screen; elsewhere each is a line.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TextIO

from m3ray.status_line import StatusLine, can_redraw, wants_colour

# Every module of the package logs below it. Without a handler of the program's own it is silent, as libraries are.
_package = logging.getLogger("m3ray")


_YELLOW, _PLAIN = "\x1b[33m", "\x1b[0m"


@dataclass(frozen=True)
class Work:
    """Work that a terminal's line of progress shows while it goes on.

    Args:
        describe: function that says how far it is; it must log nothing.
        begins: whether it begins; else it ends.
    """

    describe: Callable[[], str]
    begins: bool


def is_verbose() -> bool:
    """Whether `M3RAY_VERBOSE` asks for all that Ray and its workers print."""
    return os.environ.get("M3RAY_VERBOSE", "0") not in ("", "0")


class ConsoleHandler(logging.Handler):
    """Standard output as it is now, flushed line by line: under `ray job logs` output is watched as it comes."""

    def __init__(self) -> None:
        super().__init__()
        self._line: StatusLine | None = None
        self._of_stream: TextIO | None = None
        self._works: list[Callable[[], str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record's message, or show it in the line of progress.

        Args:
            record: log record; below INFO it counts only where it tells of work that begins or ends.
        """
        # Whoever read along may have gone (a closed terminal, `| head`): the job goes on, and so does its log.
        with suppress(OSError, ValueError):
            line, event = self._find_line(), getattr(record, "event", None)
            if isinstance(event, Work):
                self._follow(event, line)
            elif record.levelno >= logging.INFO and not (self._works and line and hasattr(record, "is_progress")):
                self._print(record, line)

    def _find_line(self) -> StatusLine | None:
        """The terminal's line of progress; None where there is no terminal, or Ray prints on it as it likes."""
        if sys.stdout is not self._of_stream:
            self._of_stream = sys.stdout
            self._line = StatusLine(sys.stdout) if can_redraw(sys.stdout) and not is_verbose() else None
        return self._line

    def _follow(self, work: Work, line: StatusLine | None) -> None:
        """Show in the line what began last, of the work that has not ended."""
        if work.begins:
            self._works.append(work.describe)
        elif work.describe in self._works:  # with it ends what began within it
            del self._works[self._works.index(work.describe) :]
        if line is not None and self._works:
            line.show(self._works[-1])
        elif line is not None:
            line.hide()

    def _print(self, record: logging.LogRecord, line: StatusLine | None) -> None:
        text = escape_unencodable(record.getMessage(), sys.stdout)
        if line is None:
            print(text, file=sys.stdout, flush=True)
        elif record.levelno >= logging.WARNING and wants_colour():
            line.print_above(f"{_YELLOW}{text}{_PLAIN}")
        else:
            line.print_above(text)


def configure_console() -> None:
    """Print what the package logs from level INFO up on standard output; a second call changes nothing."""
    if any(isinstance(handler, ConsoleHandler) for handler in _package.handlers):
        return
    _package.setLevel(logging.DEBUG)
    _package.propagate = False
    _package.addHandler(ConsoleHandler())


def escape_unencodable(text: str, stream: TextIO) -> str:
    """Escape the characters that a stream's encoding lacks, so that no name ends a job.

    Args:
        text: any text.
        stream: where it is to be written.
    Returns:
        The text, with backslash escapes in place of what the stream cannot encode.
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def log_details(logger: logging.Logger, text: str) -> None:
    """Log a long text, such as a traceback, for the run's record alone.

    Args:
        logger: logger of the module that has something to tell.
        text: one or more lines; each becomes a record of level DEBUG.
    """
    for line in text.splitlines():
        logger.debug("%s", line)


def log_progress(logger: logging.Logger, text: str) -> None:
    """Log a line of progress; where a terminal's own line shows the work (`show_work`), it is none on the screen.

    Args:
        logger: logger of the module that makes progress.
        text: the line.
    """
    logger.info("%s", text, extra={"is_progress": True})


@contextmanager
def show_work(describe: Callable[[], str]) -> Iterator[None]:
    """Show in a terminal's line of progress how far work is, for the length of the block; elsewhere nothing.

    Args:
        describe: function that says how far it is, called each second by another thread; it must log nothing.
    """
    publish(Work(describe, begins=True))
    try:
        yield
    finally:
        publish(Work(describe, begins=False))


@contextmanager
def log_python_warnings() -> Iterator[None]:
    """Log what Python's `warnings` would print, for the run's record alone, for the length of the block."""
    before = warnings.showwarning

    def log_warning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if is_verbose() or file is not None:
            before(message, category, filename, lineno, file, line)
        else:
            log_details(_package, warnings.formatwarning(message, category, filename, lineno))

    warnings.showwarning = log_warning
    try:
        yield
    finally:
        warnings.showwarning = before


def publish(event: object) -> None:
    """Hand an event to the run's record: a change of the job's state, or work whose progress is counted.

    Args:
        event: object that the record's subscriber understands, or work that the console shows; no line of the log.
    """
    _package.debug("%s", type(event).__name__, extra={"event": event})


def write_temporary_log(text: str) -> str | None:
    """Write a log into the machine's temporary folder.

    Args:
        text: the whole log.
    Returns:
        The file's path; None if that folder cannot be written either.
    """
    try:
        with tempfile.NamedTemporaryFile("wb", prefix="m3ray-", suffix=".log", delete=False) as file:
            file.write(text.encode(errors="backslashreplace") + b"\n")
        return file.name
    except OSError:
        return None


class LineKeeper(logging.Handler):
    """Keep every line that the package logs while it is attached, with its time; events go to a subscriber.

    Attributes:
        lines: lines so far, each with its UTC time in front.
        subscriber: called with each event that is published.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.subscriber: Callable[[object], None] = lambda event: None
        self._level_before = logging.NOTSET

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, or pass an event on.

        Args:
            record: log record of any level.
        """
        event = getattr(record, "event", None)
        if event is not None:
            self.subscriber(event)
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        self.lines.append(f"{stamp} {record.getMessage()}")

    def __enter__(self) -> LineKeeper:
        self._level_before = _package.level
        _package.setLevel(logging.DEBUG)
        _package.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        _package.removeHandler(self)
        _package.setLevel(self._level_before)
