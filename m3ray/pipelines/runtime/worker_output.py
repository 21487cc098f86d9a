"""What Ray's workers print: it goes to the run's log; of what a person must see, the screen has one line.

With `M3RAY_VERBOSE=1` Ray prints these lines itself, and tracebacks alone go to the log.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import ray._private.worker

from m3ray.console import is_verbose, log_details
from m3ray.pipelines.runtime.failures import name_and_text
from m3ray.pipelines.runtime.ray_warnings import NOTICES, find_notice, strip_colours

logger = logging.getLogger(__name__)

_BEGINS = "Traceback (most recent call last)"
_OF_TRACE = re.compile(r"\s+\S|\s*$|The above exception was|During handling of the above|.*\^\^")
# What workers print for the screen: warnings of the checks on their node.
_FOR_PEOPLE = re.compile("preflight: ")
_AUTOSCALER = "autoscaler"
_EVENT_TOKEN = ":event_summary:"
# A clip may print a line, and a job may have millions of clips: the log is kept in memory until it is written.
_MOST_LINES = 10_000


class WorkerPrinter:
    """Stand-in for Ray's function that prints what workers print, after it has dropped what all repeat.

    Args:
        printer: Ray's function.
    """

    def __init__(self, printer: Callable[..., None]) -> None:
        self.printer = printer
        self._kept = 0

    def __call__(self, data: dict[str, Any], *arguments: Any, **named: Any) -> None:
        """Log a worker's lines, and show what a person must see of them.

        Args:
            data: lines, and the process that printed them, as Ray passes them.
            *arguments: what else Ray passes to its function.
            **named: likewise, by name.
        """
        if is_verbose():
            self._print(data, *arguments, **named)
            return
        lines = [strip_colours(line) for text in data.get("lines", ()) for line in str(text).splitlines()]
        if data.get("pid") == _AUTOSCALER:  # the rest is a table of the cluster, every five seconds
            for event in _read_events(lines):
                NOTICES.show(f"cluster: {event}")
            return
        self._keep(_describe_source(data), lines)
        for line in lines:
            notice = line if _FOR_PEOPLE.match(line) else find_notice(line)
            if notice:
                NOTICES.show(notice)

    def _keep(self, source: str, lines: Sequence[str]) -> None:
        """Log lines, up to a number of them."""
        rest = _MOST_LINES - self._kept
        self._kept += len(lines)
        if rest > 0:
            log_details(logger, "\n".join(f"({source}) {line}" for line in lines[:rest]))
            if len(lines) >= rest:
                log_details(logger, f"workers printed {_MOST_LINES} lines: the rest stands in Ray's own logs alone")

    def _print(self, data: dict[str, Any], *arguments: Any, **named: Any) -> None:
        """Print lines as Ray does, without tracebacks."""
        lines = [line for text in data.get("lines", ()) for line in str(text).splitlines()]
        rest = remove_traceback(lines)
        if len(rest) < len(lines):
            log_details(logger, "\n".join(lines))
            data = {**data, "lines": rest}
        if data.get("lines"):
            self.printer(data, *arguments, **named)


def divert_worker_output() -> None:
    """Send what workers print to the run's log, from now on."""
    # Ray looks this function of its own up at each call; a further job in this process begins its count anew.
    printer: Any = getattr(ray._private.worker, "print_worker_logs", None)
    if printer is not None:
        original = printer.printer if isinstance(printer, WorkerPrinter) else printer
        ray._private.worker.print_worker_logs = WorkerPrinter(original)


def _describe_source(data: dict[str, Any]) -> str:
    """The process that printed lines: `MapWorker pid=12, ip=10.0.0.3`."""
    name, pid = data.get("actor_name") or data.get("task_name") or "", data.get("pid")
    process = str(pid) if isinstance(pid, str) and not pid.isdigit() else f"{name} pid={pid}".strip()
    here = data.get("ip") == data.get("localhost")
    return process if here else f"{process}, ip={data.get('ip')}"


def _read_events(lines: Sequence[str]) -> list[str]:
    """What the autoscaler says, without the rest of its output."""
    read = getattr(ray._private.worker, "filter_autoscaler_events", None)
    if read is not None:
        with suppress(Exception):  # Ray's own function, which may ask a cluster that has gone
            return [event for event in read(list(lines)) if not event.startswith("Tip:")]
    return [line.partition(_EVENT_TOKEN)[2] for line in lines if _EVENT_TOKEN in line]


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
