"""The record of a run, `runs/<run>/`: there from the job's start, and updated while it runs, whatever kills it.

`config.json`: options and versions. `summary.json`: status, counts and seconds so far. `log.txt`: every line.
`events.jsonl`: every change of state. One thread writes them, so that no storage slows the job.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Condition, Thread
from time import monotonic, sleep
from typing import Any

from m3ray.console import LineKeeper
from m3ray.pipelines.runtime.events import Event, as_json_line
from m3ray.pipelines.runtime.growing_file import GrowingFile
from m3ray.pipelines.runtime.progress import Progress
from m3ray.storage.filesystems import is_local, one_line
from m3ray.storage.object_store import put_object
from m3ray.storage.root import Root

_EVERY_SECONDS = 30.0
_UPLOAD_SECONDS = 10.0
_LAST_SECONDS = 20.0


class _RecordRoot(Root):
    """The root without the job's fence: a job that lost its lock still records so. An upload ends within seconds."""

    def write_bytes(self, data: bytes, *parts: str) -> str:
        """Write a file of the record; see `Root.write_bytes`."""
        if is_local(self.uri):
            return super().write_bytes(data, *parts)
        put_object(self.display(*parts), data, seconds=_UPLOAD_SECONDS)
        return self.path(*parts)


class RunRecord:
    """Files of a run, written by a thread of its own every half minute and at each event.

    Args:
        uri: address of the root.
        run: name of the run's folder under `runs/`.
        lines: keeper of the job's lines, which also receives its events and its progress.
        config: function that returns options and versions; called once.
        summary: function that returns the job's summary at that time.
    """

    def __init__(
        self,
        uri: str,
        run: str,
        lines: LineKeeper,
        config: Callable[[], Mapping[str, Any]],
        summary: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.root, self.run = _RecordRoot(uri), run
        self._lines, self._config, self._summary = lines, config, summary
        self._log, self._events = self._file("log.txt"), self._file("events.jsonl")
        self._log_length, self._has_config, self._is_last = 0, False, False
        self._progress: Progress | None = None
        self._turn = Condition()
        self._requests = self._served = 0
        self._is_closed = False
        self._failure: Exception | None = None
        lines.subscriber = self._receive
        Thread(target=self._write_until_closed, name="m3ray-record", daemon=True).start()

    def _file(self, name: str) -> GrowingFile:
        return GrowingFile(self.root, "runs", self.run, name)

    @property
    def log_location(self) -> str:
        """Where the log lies, for people."""
        return self.root.display("runs", self.run, "log.txt")

    @property
    def failure(self) -> str:
        """Why the last write failed; empty if it did not."""
        return "" if self._failure is None else f"{type(self._failure).__name__}: {one_line(self._failure)[:300]}"

    def counts(self) -> dict[str, Any]:
        """Counts of the latest progress, as `Progress.counts` returns them; empty before the first."""
        return {} if self._progress is None else self._progress.counts()

    def event_context(self) -> dict[str, Any]:
        """What an event carries of the job: its name, run, stage and counts."""
        now = {**self._summary(), **self.counts()}
        names = ("job", "run", "stage", "clips_done", "clips_rejected", "clips_total")
        return {name: now[name] for name in names if now.get(name) not in (None, "")}

    def request_write(self) -> None:
        """Ask for the record to be written as soon as possible; return at once."""
        with self._turn:
            self._requests += 1
            self._turn.notify_all()

    def write_now(self) -> bool:
        """Write the whole record, as the last time, and wait for it, though no longer than seconds.

        Returns:
            Whether it was written.
        """
        with self._turn:
            self._is_last = True
            self._requests += 1
            own = self._requests
            self._turn.notify_all()
            if not self._turn.wait_for(lambda: self._served >= own, _LAST_SECONDS):
                timeout = TimeoutError(f"the storage did not answer within {_LAST_SECONDS:.0f} s")
                self._failure = self._failure or timeout
            return self._failure is None

    def close(self) -> None:
        """Write nothing more, and let the thread end."""
        with self._turn:
            self._is_closed = True
            self._turn.notify_all()

    def text(self) -> str:
        """Log and summary as one text, to be written elsewhere."""
        with suppress(Exception):
            return "\n".join([*self._lines.lines, json.dumps(self._summary(), default=str)])
        return "\n".join(self._lines.lines)

    def _receive(self, event: object) -> None:
        if isinstance(event, Progress):
            self._progress = event
        elif isinstance(event, Event):
            self._events.add([as_json_line(event.as_dict(self.event_context()))])
            self.request_write()

    def _write_until_closed(self) -> None:
        """Write every half minute and at each request; a storage that fails is tried again then."""
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._requests > self._served or self._is_closed, _EVERY_SECONDS)
                if self._is_closed:
                    return
                requests = self._requests
            failure = self._try_to_write()
            with self._turn:
                self._served, self._failure = requests, failure
                self._turn.notify_all()

    def _try_to_write(self) -> Exception | None:
        end = monotonic() + _LAST_SECONDS / 2
        while True:
            try:
                self._write()
                return None
            except Exception as error:  # a record must not cost the job
                # At the job's end there is no later time; what fails on a disk will fail again.
                if not self._is_last or is_local(self.root.uri) or monotonic() > end:
                    return error
            sleep(1)

    def _write(self) -> None:
        folder = ("runs", self.run)
        if not self._has_config:
            self.root.write_json(self._config(), *folder, "config.json")
            self._has_config = True
        self.root.write_json(self._summary(), *folder, "summary.json")
        lines = self._lines.lines[self._log_length :]
        self._log_length += len(lines)
        self._log.add(lines)
        self._log.save(whole=self._is_last)
        self._events.save()
