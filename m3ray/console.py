"""What a person reads: log lines on the console, and their copy for the run's record."""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

# Every module of the package logs below it. Without a handler of the program's own it is silent, as libraries are.
_package = logging.getLogger("m3ray")


class ConsoleHandler(logging.Handler):
    """Standard output as it is now, flushed line by line: under `ray job logs` output is watched as it comes."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record's message.

        Args:
            record: log record of level INFO or above.
        """
        # Whoever read along may have gone (a closed terminal, `| head`): the job goes on, and so does its log.
        with suppress(OSError, ValueError):
            print(escape_unencodable(record.getMessage(), sys.stdout), file=sys.stdout, flush=True)


def configure_console() -> None:
    """Print what the package logs from level INFO up on standard output; a second call changes nothing."""
    if any(isinstance(handler, ConsoleHandler) for handler in _package.handlers):
        return
    _package.setLevel(logging.DEBUG)
    _package.propagate = False
    _package.addHandler(ConsoleHandler(logging.INFO))


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


def publish(event: object) -> None:
    """Hand an event to the run's record: a change of the job's state, or work whose progress is counted.

    Args:
        event: object that the record's subscriber understands; it is no line of the log.
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
