"""A job's changes of state, for other tools: a line of JSON each, in `runs/<run>/events.jsonl`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from m3ray.console import announce

EventName = Literal["started", "stage", "paused", "resumed", "done", "failed", "stopped"]


@dataclass(frozen=True)
class Event:
    """A change of state.

    Args:
        name: `started`, `stage` (one begins or ends), `paused` and `resumed` (by the storage), and how the job ended:
            `done`, `failed`, `stopped`.
        words: for a person.
        facts: further values, plain JSON.
        at: when, seconds since 1970.
    """

    name: EventName
    words: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    at: float = field(default_factory=time.time)

    def as_dict(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """The event as it is kept.

        Args:
            known: of the job at that time: its name, run, stage and counts.
        """
        return {"time": iso_time(self.at), "event": self.name, **known, **self.facts, "words": self.words}


def emit(name: EventName, words: str = "", **facts: Any) -> None:
    """Tells the run's record of a change of state; where there is none (a dry run), nobody."""
    emit_event(Event(name, words, facts))


def emit_event(event: Event) -> None:
    """As `emit`."""
    announce(event)


def as_line(event: Mapping[str, Any]) -> str:
    """An event as a line of JSON."""
    return json.dumps(event)


def iso_time(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC, with milliseconds."""
    whole, part = divmod(int(seconds * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{part:03d}Z"
