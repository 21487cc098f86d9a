"""The record of a run, `runs/<run>/`, there from the job's start and kept up while it runs, whatever kills it.

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
from m3ray.pipelines.runtime.events import Event, as_line
from m3ray.pipelines.runtime.growing_file import GrowingFile
from m3ray.pipelines.runtime.progress import Progress
from m3ray.storage.filesystems import is_local, one_line
from m3ray.storage.object_store import put
from m3ray.storage.root import Root

_EVERY_SECONDS = 30.0
_UPLOAD_SECONDS = 10.0
_LAST_SECONDS = 20.0


class _RecordRoot(Root):
    """The root without the job's fence, as a job that lost its lock still says so; an upload ends within seconds."""

    def write_bytes(self, data: bytes, *parts: str) -> str:
        if is_local(self.uri):
            return super().write_bytes(data, *parts)
        put(self.display(*parts), data, seconds=_UPLOAD_SECONDS)
        return self.path(*parts)


class RunRecord:
    """What is kept of a run.

    Args:
        uri: of the root.
        run: the name of its folder under `runs/`.
        said: keeps the job's lines, and hears of its events and its progress.
        config: options and versions, asked once.
        summary: what is known of the job now, without what it is asked for here: the counts of its progress.
    """

    def __init__(
        self,
        uri: str,
        run: str,
        said: LineKeeper,
        config: Callable[[], Mapping[str, Any]],
        summary: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.root, self.run = _RecordRoot(uri), run
        self._said, self._config, self._summary = said, config, summary
        self._log, self._events = self._file("log.txt"), self._file("events.jsonl")
        self._logged, self._configured, self._last = 0, False, False
        self._progress: Progress | None = None
        self._turn = Condition()
        self._asked = self._answered = 0
        self._over = False
        self._failure: Exception | None = None
        said.heard = self._hear
        Thread(target=self._keep, name="m3ray-record", daemon=True).start()

    def _file(self, name: str) -> GrowingFile:
        return GrowingFile(self.root, "runs", self.run, name)

    @property
    def log_place(self) -> str:
        """Where the log lies, for people."""
        return self.root.display("runs", self.run, "log.txt")

    @property
    def failure(self) -> str:
        """Why the last writing failed; empty where it did not."""
        return "" if self._failure is None else f"{type(self._failure).__name__}: {one_line(self._failure)[:300]}"

    def counts(self) -> dict[str, Any]:
        """Of the latest progress."""
        return {} if self._progress is None else self._progress.counts()

    def known(self) -> dict[str, Any]:
        """What an event carries of the job."""
        now = {**self._summary(), **self.counts()}
        names = ("job", "run", "stage", "clips_done", "clips_rejected", "clips_total")
        return {name: now[name] for name in names if now.get(name) not in (None, "")}

    def write_soon(self) -> None:
        """Has the record written as soon as may be; returns at once."""
        with self._turn:
            self._asked += 1
            self._turn.notify_all()

    def write_now(self) -> bool:
        """Has it written, log and all, and waits for that, but no longer than seconds; whether it was."""
        with self._turn:
            self._last = True
            self._asked += 1
            mine = self._asked
            self._turn.notify_all()
            answered = self._turn.wait_for(lambda: self._answered >= mine, _LAST_SECONDS)
            if not answered:
                silent = TimeoutError(f"the storage did not answer within {_LAST_SECONDS:.0f} s")
                self._failure = self._failure or silent
            return self._failure is None

    def end(self) -> None:
        """Nothing more is written."""
        with self._turn:
            self._over = True
            self._turn.notify_all()

    def text(self) -> str:
        """Log and summary, to be kept elsewhere."""
        with suppress(Exception):
            return "\n".join([*self._said.lines, json.dumps(self._summary(), default=str)])
        return "\n".join(self._said.lines)

    def _hear(self, fact: object) -> None:
        if isinstance(fact, Progress):
            self._progress = fact
        elif isinstance(fact, Event):
            self._events.add([as_line(fact.as_dict(self.known()))])
            self.write_soon()

    def _keep(self) -> None:
        """Writes every half minute, and whenever that is asked for; a storage that fails is tried again then."""
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._asked > self._answered or self._over, _EVERY_SECONDS)
                if self._over:
                    return
                asked = self._asked
            failure = self._tried()
            with self._turn:
                self._answered, self._failure = asked, failure
                self._turn.notify_all()

    def _tried(self) -> Exception | None:
        end = monotonic() + _LAST_SECONDS / 2
        while True:
            try:
                self._write()
                return None
            except Exception as error:  # a record must not cost the job
                # At the job's end there is no later time; what fails on a disk will fail again.
                if not self._last or is_local(self.root.uri) or monotonic() > end:
                    return error
            sleep(1)

    def _write(self) -> None:
        folder = ("runs", self.run)
        if not self._configured:
            self.root.write_json(self._config(), *folder, "config.json")
            self._configured = True
        self.root.write_json(self._summary(), *folder, "summary.json")
        lines = self._said.lines[self._logged :]
        self._logged += len(lines)
        self._log.add(lines)
        self._log.save(whole=self._last)
        self._events.save()
