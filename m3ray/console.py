"""What a person reads: log lines on the console, and a keeper that gives them to the run's record."""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO


def printable(text: str, stream: TextIO) -> str:
    """`text` as `stream` can take it: a name that its encoding lacks is escaped, never an error."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


class _Console(logging.Handler):
    """Standard output as it is now, flushed line by line: under `ray job logs` output is watched as it comes."""

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(record, "quiet", False):
            # Whoever read along may have gone (a closed terminal, `| head`): the job goes on, and so does its log.
            with suppress(OSError, ValueError):
                print(printable(record.getMessage(), sys.stdout), file=sys.stdout, flush=True)


def _configured() -> logging.Logger:
    logger = logging.getLogger("m3ray.jobs")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(_Console())
    return logger


_logger = _configured()


def say(text: str) -> None:
    """One line to the user and to the run's log."""
    _logger.info("%s", text)


def note(text: str) -> None:
    """Lines for the run's log alone, such as a traceback."""
    for line in text.splitlines():
        _logger.info("%s", line, extra={"quiet": True})


def announce(fact: object) -> None:
    """Tells whoever keeps the run's record of what is no line: an event, or progress that begins."""
    _logger.info("", extra={"quiet": True, "fact": fact})


def kept_aside(text: str) -> str | None:
    """A log in the machine's temporary folder; None where that cannot be written either."""
    try:
        with tempfile.NamedTemporaryFile("wb", prefix="m3ray-", suffix=".log", delete=False) as file:
            file.write(text.encode(errors="backslashreplace") + b"\n")
        return file.name
    except OSError:
        return None


class LineKeeper(logging.Handler):
    """Keeps every line said while it is attached, with its time; other facts go to `heard`."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.heard: Callable[[object], None] = lambda fact: None

    def emit(self, record: logging.LogRecord) -> None:
        fact = getattr(record, "fact", None)
        if fact is not None:
            self.heard(fact)
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        self.lines.append(f"{stamp} {record.getMessage()}")

    def __enter__(self) -> LineKeeper:
        _logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        _logger.removeHandler(self)
