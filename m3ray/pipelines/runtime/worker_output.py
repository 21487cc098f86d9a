"""What Ray's workers print: their lines go to the user's screen, but tracebacks go to the run's log alone."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

import ray._private.worker

from m3ray.console import log_details
from m3ray.pipelines.runtime.failures import name_and_text

logger = logging.getLogger(__name__)

_BEGINS = "Traceback (most recent call last)"
_OF_TRACE = re.compile(r"\s+\S|\s*$|The above exception was|During handling of the above|.*\^\^")


def divert_tracebacks() -> None:
    """Send tracebacks of workers to the run's log instead of the screen, from now on."""
    # Whatever Ray prints of its workers passes this one function of its own.
    printer: Callable[..., None] | None = getattr(ray._private.worker, "print_to_stdstream", None)
    if printer is not None and not getattr(printer, "is_ours", False):
        ray._private.worker.print_to_stdstream = _wrap_printer(printer)
    _filter_ray_loggers()


def _wrap_printer(printer: Callable[..., None]) -> Callable[..., None]:
    def print_without_tracebacks(data: dict[str, Any], *arguments: Any, **named: Any) -> None:
        lines = [line for text in data.get("lines", ()) for line in str(text).splitlines()]
        rest = remove_traceback(lines)
        if len(rest) < len(lines):
            log_details(logger, "\n".join(lines))
            data = {**data, "lines": rest}
        if data.get("lines"):
            printer(data, *arguments, **named)

    print_without_tracebacks.is_ours = True  # type: ignore[attr-defined]
    return print_without_tracebacks


def remove_traceback(lines: Sequence[str]) -> list[str]:
    """Remove a traceback from lines.

    Args:
        lines: lines that a worker printed at once.
    Returns:
        The lines before and after a traceback, and what was raised; all lines if there is no traceback.
    """
    if not any(_BEGINS in line or line.lstrip().startswith('File "') for line in lines):
        return list(lines)
    before = [line.partition(_BEGINS)[0].strip() for line in lines if _BEGINS in line]
    name, text = name_and_text(Exception("\n".join(lines)))
    last = f"{name}: {text}"
    plain = [line for line in lines if not _OF_TRACE.match(line) and _BEGINS not in line and last not in line]
    return [line for line in dict.fromkeys([*before, *plain, last]) if line]


class _TracebackFilter(logging.Filter):
    """Filter that sends records to the run's log instead of the screen.

    Args:
        all_errors: whether every error goes there; else only records that carry a traceback.
    """

    def __init__(self, *, all_errors: bool) -> None:
        super().__init__()
        self.all_errors = all_errors
        self._formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Log the record's details if it is one to divert.

        Args:
            record: log record of one of Ray's loggers.
        Returns:
            Whether it may go to the screen.
        """
        is_error = self.all_errors and record.levelno >= logging.ERROR
        if not is_error and not record.exc_info and _BEGINS not in str(record.msg) + str(record.args):
            return True
        log_details(logger, self._formatter.format(record))
        return False


def _filter_ray_loggers() -> None:
    """Filter what Ray Data and Tune log of an error before they raise it; the job's last line tells it once."""
    for name, all_errors in (("ray", False), ("ray.data", True)):
        for handler in logging.getLogger(name).handlers:
            on_screen = isinstance(handler, logging.StreamHandler)
            if on_screen and not any(isinstance(each, _TracebackFilter) for each in handler.filters):
                handler.addFilter(_TracebackFilter(all_errors=all_errors))
