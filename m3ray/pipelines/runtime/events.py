"""A job's changes of state, for other tools: a line of JSON each, in `runs/<run>/events.jsonl`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from m3ray.console import publish

EventName = Literal["started", "stage", "paused", "resumed", "done", "failed", "stopped"]


@dataclass(frozen=True)
class Event:
    """A change of a job's state.

    Args:
        name: `started`, `stage` (one begins or ends), `paused` and `resumed` (by the storage), or how the job ended:
            `done`, `failed`, `stopped`.
        message: the change in words, for a person.
        values: further values, plain JSON.
        at: time of the change, seconds since 1970.
    """

    name: EventName
    message: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    at: float = field(default_factory=time.time)

    def as_dict(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """The event as it stands in the file.

        Args:
            context: state of the job at that time: its name, run, stage and counts.
        Returns:
            Plain JSON: time and name, then the context, the further values and the words.
        """
        return {"time": iso_time(self.at), "event": self.name, **context, **self.values, "words": self.message}


def emit(name: EventName, message: str = "", **values: Any) -> None:
    """Publish a change of state; without a run's record (a dry run) nobody receives it.

    Args:
        name: what changed, one of the event names.
        message: the change in words, for a person.
        **values: further values, plain JSON.
    """
    publish(Event(name, message, values))


def as_json_line(event: Mapping[str, Any]) -> str:
    """An event as a line of JSON.

    Args:
        event: event as `Event.as_dict` gives it.
    Returns:
        The line, without its end.
    """
    return json.dumps(event)


def iso_time(seconds: float) -> str:
    """Time as ISO 8601 in UTC, with milliseconds.

    Args:
        seconds: seconds since 1970.
    Returns:
        Text such as `1970-01-01T00:00:00.012Z`.
    """
    whole, part = divmod(int(seconds * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{part:03d}Z"
