"""What surrounds every job: the root's lock, the run's record, its counts and seconds."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from m3ray.config import as_json
from m3ray.config.options import RunOptions
from m3ray.console import LineKeeper, kept_aside, note, say
from m3ray.errors import JobFailedError, M3RayError
from m3ray.pipelines.runtime.cut_off import RUNNING, cut_off
from m3ray.pipelines.runtime.device_meter import Meter
from m3ray.pipelines.runtime.events import Event, EventName, emit, emit_event
from m3ray.pipelines.runtime.failures import as_traceback, foreseen, raised, words
from m3ray.pipelines.runtime.on_end import call, check_on_end, shown
from m3ray.pipelines.runtime.progress import Progress, run_name
from m3ray.pipelines.runtime.run_record import RunRecord
from m3ray.scoring.build import commit, versions
from m3ray.storage.disk import existing, is_full
from m3ray.storage.dry_root import DryRoot
from m3ray.storage.filesystems import is_local, local_path
from m3ray.storage.lock import locked
from m3ray.storage.root import Root

_ENDS: dict[str, EventName] = {"success": "done", "partial": "done", "failed": "failed", "stopped": "stopped"}


@dataclass
class Job:
    """A running job.

    Args:
        root: everything it makes lives under it.
        name: of the job.
        summary: what goes into `runs/<run>/summary.json`.
        meter: of the devices that it held.
        begun: whether the root is this job's: from then on it leaves a record.
        doing: the stage that it is in.
    """

    root: Root
    name: str
    summary: dict[str, Any] = field(default_factory=dict)
    meter: Meter = field(default_factory=Meter)
    begun: bool = False
    doing: str = ""

    def outcome(self, clips: int, rejected: int, waiting: int = 0) -> None:
        """What became of the catalogue's clips: with rejects a job succeeds in part.

        Args:
            clips: of the catalogue.
            rejected: those in `rejects/`.
            waiting: those of them that only the storage failed.
        """
        self.summary |= {"clips": clips, "rejected": rejected, "storage_failed": waiting}

    def count(self, progress: Progress) -> None:
        """Adds an extraction's counts and seconds to the summary."""
        self.summary["clips_done"] = progress.done
        self.summary["clips_rejected"] = progress.rejected
        self.summary["stage_seconds"] = dict(progress.seconds.by_stage)
        self.summary["extract_seconds"] = progress.wall

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Notes how long a stage took."""
        start, self.doing = time.monotonic(), name
        emit("stage", f"{name} begins")
        yield
        self.summary.setdefault("seconds", {})[name] = seconds = round(time.monotonic() - start, 3)
        emit("stage", f"{name} ends", seconds=seconds)
        self.doing = ""


@contextmanager
def running(name: str, options: RunOptions) -> Iterator[Job]:
    """The job `name` on its root: refuses a root in use, keeps a record under `runs/`. A dry run leaves nothing.

    Raises:
        ConfigError: `--on-end` is an address that cannot be posted to.
        RootBusyError: another job works on the root.
        M3RayError: whatever went wrong, in one line; what it began with is its cause, and its traceback in the log.
    """
    check_on_end(options.on_end)
    root = (DryRoot if options.dry_run else Root)(options.out)
    job = Job(root, name)
    status, failure = "failed", None
    with LineKeeper() as said, _ended_by_sigterm():
        run = _Run(job, options, said)
        try:
            with _held(job, dry=options.dry_run):
                try:
                    run.begin()
                    yield job
                    if not options.dry_run:
                        say(f"{name}: under {root.uri}: {', '.join(root.names())}")
                    status = "partial" if job.summary.get("rejected") else "success"
                except Exception as error:
                    failure = _told(job, error)
                except (KeyboardInterrupt, SystemExit):  # Ctrl-C; a signal as `ray job stop` sends it
                    status = "stopped"
                    raise
                finally:  # while the lock is held: whoever takes it next sees that this run ended by itself
                    run.finish(status, failure)
        except Exception as error:
            failure = failure or _told(job, error)
        except (KeyboardInterrupt, SystemExit):
            status = "stopped"
            raise
        finally:
            failure = run.end(status, failure)
    if failure is not None:
        raise failure


@contextmanager
def _held(job: Job, *, dry: bool) -> Iterator[None]:
    """The root's lock; a dry run needs none."""
    if dry:
        yield
        return
    with locked(job.root, job.name, tell=say) as lock:
        job.root.fence = lock.fence
        job.begun = True
        yield


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM is an exit, so that the record is finished; Ray, once it is there, has a handler that does the same."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is _exit:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit(number: int, _: object) -> None:
    sys.exit(128 + number)


def _told(job: Job, error: Exception) -> M3RayError:
    """The failure in one line, its traceback in the log."""
    failure = foreseen(error)
    if isinstance(failure, JobFailedError):
        said = _of_full_disk(job.root, error) or str(failure)
        failure = JobFailedError(f"{job.doing or job.name} under {job.root.uri}: {said}")
    failure.told = True
    job.summary["error"] = str(failure)
    note(as_traceback(error))
    if failure is not error:
        failure.__cause__ = error
    return failure


def _of_full_disk(root: Root, error: Exception) -> str | None:
    """What to say instead where a disk is full: libraries tell of a file that they find cut short."""
    places = [Path(tempfile.gettempdir())]
    if is_local(root.uri):
        places.append(existing(Path(local_path(root.uri))))
    full = next((place for place in places if is_full(place)), None)
    if full is None:
        return None
    name, text = raised(error)
    return words("OSError", f"[Errno {errno.ENOSPC}] no room left on {full}; {name}: {text}")


class _Run:
    """A run from its job's start to its end: its record, and what is called then.

    Args:
        job: whose.
        options: of the job.
        said: its lines.
    """

    def __init__(self, job: Job, options: RunOptions, said: LineKeeper) -> None:
        self.job, self.options, self.said = job, options, said
        self.started = time.time()
        self.name = run_name(job.name, self.started)
        self.status = RUNNING
        self.record: RunRecord | None = None
        self.finished: tuple[Event, str | None] | None = None

    def begin(self) -> None:
        """From here on there is a record; a run before that was cut off is told of."""
        if not self.job.begun:
            return
        before = cut_off(self.job.root, self.job.name)
        self.record = RunRecord(self.job.root.uri, self.name, self.said, self._config, self._summary)
        emit("started")
        if before:
            say(f"{self.job.name}: {before}")

    def finish(self, status: str, failure: M3RayError | None) -> tuple[Event, str | None]:
        """Notes how the run ended, once.

        Returns:
            Its last event, and the place of its log if there is one.
        """
        if self.finished is None:
            self.status = status
            event = self._final(status, self._last_line() if failure is None else str(failure))
            emit_event(event)
            self.finished = event, None  # before the wait for the storage: an interrupt there changes no outcome
            self.finished = event, self._finished(failure)
        return self.finished

    def end(self, status: str, failure: M3RayError | None) -> M3RayError | None:
        """Finishes the record, calls what is to be called, and says the last line.

        Returns:
            The failure, with the place of its traceback if it has one to show.
        """
        event, place = self.finish(status, failure)
        last = self._last_line()
        if self.options.on_end and not self.options.dry_run:
            call(self.options.on_end, self._called_with(event, last), self._environment(), say)
        say(last)
        if self.record is not None:
            if not self.record.failure:
                self.record.write_now()
            self.record.end()
        return _with_place(failure, place) if isinstance(failure, JobFailedError) else failure

    def _last_line(self) -> str:
        return _last_line(self.job, self.status, dry=self.options.dry_run)

    def _final(self, status: str, words: str) -> Event:
        facts: dict[str, Any] = {key: self.job.summary[key] for key in ("clips", "rejected") if key in self.job.summary}
        return Event(_ENDS[status], words, {"status": status, **facts})

    def _finished(self, failure: M3RayError | None) -> str | None:
        """The place of the log; where the root takes none, of a file of its own."""
        if self.record is None:
            if not isinstance(failure, JobFailedError):
                return None
            return kept_aside("\n".join([*self.said.lines, as_traceback(failure)]))
        if self.record.write_now():
            return self.record.log_place
        place = kept_aside(self.record.text())
        say(f"record: {self.record.log_place} could not be written ({self.record.failure}): it lies in {place}")
        return place

    def _called_with(self, event: Event, last: str) -> dict[str, Any]:
        """The last event as `--on-end` gets it; `text` is what chat servers show of a message."""
        known = {"job": self.job.name} if self.record is None else self.record.known()
        return {**event.as_dict(known), "root": self.job.root.uri, "text": last}

    def _environment(self) -> dict[str, str]:
        run = "" if self.record is None else self.name
        return {"M3RAY_STATUS": self.status, "M3RAY_RUN": run, "M3RAY_ROOT": self.job.root.uri}

    def _config(self) -> dict[str, Any]:
        options = self.options
        if options.on_end:
            options = replace(options, on_end=shown(options.on_end))
        return {"options": as_json(options), "versions": versions(), "commit": commit()}

    def _summary(self) -> dict[str, Any]:
        """What is known now; as the job runs also where it stands and when it said so."""
        now = time.time()
        found: dict[str, Any] = {"job": self.job.name, "run": self.name, "status": self.status, "started": self.started}
        found |= {"updated": now, "wall_seconds": now - self.started}
        found |= {"host": socket.gethostname(), "pid": os.getpid(), "devices": self.job.meter.devices()}
        counts = self.record.counts() if self.record is not None else {}
        if self.status in ("success", "partial"):
            return {**found, **self.job.summary}
        if self.status == RUNNING:
            return {**found, "stage": self.job.doing, **self.job.summary, **counts}
        return {**found, "stage": self.job.doing, **_without_pace(counts), **self.job.summary}


def _without_pace(counts: dict[str, Any]) -> dict[str, Any]:
    return {name: count for name, count in counts.items() if name not in ("clips_per_second", "seconds_left")}


def _with_place(failure: JobFailedError, place: str | None) -> JobFailedError:
    found = JobFailedError(f"{failure}; traceback in {place}" if place else str(failure))
    found.__cause__, found.told = failure.__cause__, failure.told
    return found


def _last_line(job: Job, status: str, *, dry: bool) -> str:
    """What a person looks for at the end of a log, and a script greps."""
    if dry and status == "success":
        return f"{job.name}: result: success: a dry run, nothing was written"
    stays = "what was committed stays" if job.begun else "nothing was done"
    waiting = job.summary.get("storage_failed")
    again = f" ({waiting} of them for the storage alone: the next run tries these again)" if waiting else ""
    words = {
        "success": "every clip has its features" if "clips" in job.summary else "done",
        "partial": f"{job.summary.get('rejected')} of {job.summary.get('clips')} clips rejected{again}, "
        f"reasons in {job.root.display('rejects')}",
        "stopped": f"{stays}; the same command goes on from there",
        "failed": f"{stays}; the error stands in the last line",
    }
    return f"{job.name}: result: {status}: {words[status]}"
