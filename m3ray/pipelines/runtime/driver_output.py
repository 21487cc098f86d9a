"""What Ray says in the driver's own process, by Python's logging or from its C++ side: it goes to the run's log."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ray.data._internal.execution.operators.actor_pool_map_operator import ActorPoolMapOperator

from m3ray.console import is_verbose, log_details
from m3ray.pipelines.runtime.ray_warnings import NOTICES, find_notice

logger = logging.getLogger(__name__)

_BEGINS = "Traceback (most recent call last)"
# "[2026-11-27 07:08:52,764 E 20970 20970] core_worker.cc:2465: ..."; a fatal one (F) is shown.
_OF_CPP = re.compile(r"\[[\d\-]+ [\d:,]+ [DIWE] \d+ \d+\]")


class RayLogFilter(logging.Filter):
    """Filter that sends records of Ray's loggers to the run's log, and shows what a person must see of them.

    Args:
        all_errors: whether errors go there too, as the job's last line tells them; else they are shown as one line.
    """

    def __init__(self, *, all_errors: bool) -> None:
        super().__init__()
        self.all_errors = all_errors
        self._formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Log the record's details.

        Args:
            record: log record of one of Ray's loggers.
        Returns:
            Whether Ray's own handler may show it; with `M3RAY_VERBOSE=1` it may, but for errors and tracebacks.
        """
        if record.name.partition(".")[0] != "ray":  # a handler may serve others, too
            return True
        is_error = record.levelno >= logging.ERROR
        has_traceback = bool(record.exc_info) or _BEGINS in str(record.msg) + str(record.args)
        if is_verbose() and not (is_error and self.all_errors) and not has_traceback:
            return True
        text = self._formatter.format(record)
        log_details(logger, text)
        notice = find_notice(text)
        if notice is None and is_error and not self.all_errors and not has_traceback:
            notice = f"ray: {text.splitlines()[0] if text else record.name}"
        if notice:
            NOTICES.show(notice)
        return False


def filter_ray_loggers() -> None:
    """Filter what Ray logs in this process; what Ray Data and Tune log of an error, the job's last line tells once."""
    for name, all_errors in (("ray", False), ("ray.data", True), ("ray.train", False), ("ray.tune", False)):
        for handler in logging.getLogger(name).handlers:
            on_screen = isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
            if on_screen and not any(isinstance(each, RayLogFilter) for each in handler.filters):
                handler.addFilter(RayLogFilter(all_errors=all_errors))


def divert_actor_warnings() -> None:
    """Send to the run's log what Ray's C++ side prints as Ray Data starts an actor.

    Ray Data passes its actors arguments in the object store and lets them restart, and each time Ray warns of that.
    """
    start: Callable[..., Any] | None = getattr(ActorPoolMapOperator, "_start_actor", None)
    if start is None or getattr(start, "is_ours", False):
        return

    def start_quietly(*arguments: Any, **named: Any) -> Any:
        with divert_native_errors():
            return start(*arguments, **named)

    start_quietly.is_ours = True  # type: ignore[attr-defined]
    ActorPoolMapOperator._start_actor = start_quietly


@contextmanager
def divert_native_errors() -> Iterator[None]:
    """Send what native code prints on standard error meanwhile to the run's log, if it is a line of Ray's C++ log.

    All other text is printed when the block ends. It suits a block of milliseconds: what a crash prints is lost.
    """
    if is_verbose():
        yield
        return
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            _sort_lines(file.read().decode(errors="replace").splitlines())


def _sort_lines(lines: Sequence[str]) -> None:
    of_cpp = [line for line in lines if _OF_CPP.match(line)]
    log_details(logger, "\n".join(of_cpp))
    rest = [line for line in lines if not _OF_CPP.match(line)]
    if rest:
        with suppress(OSError):
            os.write(2, "".join(f"{line}\n" for line in rest).encode())
