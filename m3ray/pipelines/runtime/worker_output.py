"""What Ray's workers print, on the user's screen: their lines, but never a traceback, which goes to the run's log."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

import ray._private.worker

from m3ray.console import note
from m3ray.pipelines.runtime.failures import raised

_BEGINS = "Traceback (most recent call last)"
_OF_TRACE = re.compile(r"\s+\S|\s*$|The above exception was|During handling of the above|.*\^\^")


def keep_tracebacks_off_screen() -> None:
    """From now on; whatever Ray prints of its workers passes one function of its own."""
    shown: Callable[..., None] | None = getattr(ray._private.worker, "print_to_stdstream", None)
    if shown is not None and not getattr(shown, "is_ours", False):
        ray._private.worker.print_to_stdstream = _without_tracebacks(shown)  # type: ignore[assignment]
    _keep_errors_of_ray()


def _without_tracebacks(shown: Callable[..., None]) -> Callable[..., None]:
    def ours(data: dict[str, Any], *arguments: Any, **named: Any) -> None:
        lines = [line for text in data.get("lines", ()) for line in str(text).splitlines()]
        kept = without_traceback(lines)
        if len(kept) < len(lines):
            note("\n".join(lines))
            data = {**data, "lines": kept}
        if data.get("lines"):
            shown(data, *arguments, **named)

    ours.is_ours = True  # type: ignore[attr-defined]
    return ours


def without_traceback(lines: Sequence[str]) -> list[str]:
    """`lines`; where they hold a traceback, those before and after it, and what was raised."""
    if not any(_BEGINS in line or line.lstrip().startswith('File "') for line in lines):
        return list(lines)
    kept = [line.partition(_BEGINS)[0].strip() for line in lines if _BEGINS in line]
    name, text = raised(Exception("\n".join(lines)))
    raising = f"{name}: {text}"
    plain = [line for line in lines if not _OF_TRACE.match(line) and _BEGINS not in line and raising not in line]
    return [line for line in dict.fromkeys([*kept, *plain, raising]) if line]


class _ToLog(logging.Filter):
    """Keeps records off the screen, and puts them into the run's log.

    Args:
        all_errors: every error; else those that carry a traceback.
    """

    def __init__(self, *, all_errors: bool) -> None:
        super().__init__()
        self.all_errors = all_errors
        self._written = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        is_error = self.all_errors and record.levelno >= logging.ERROR
        if not is_error and not record.exc_info and _BEGINS not in str(record.msg) + str(record.args):
            return True
        note(self._written.format(record))
        return False


def _keep_errors_of_ray() -> None:
    """Ray Data and Tune tell of an error, traceback and all, before they raise it; the job's last line says it once."""
    for name, all_errors in (("ray", False), ("ray.data", True)):
        for handler in logging.getLogger(name).handlers:
            shown = isinstance(handler, logging.StreamHandler)
            if shown and not any(isinstance(known, _ToLog) for known in handler.filters):
                handler.addFilter(_ToLog(all_errors=all_errors))
