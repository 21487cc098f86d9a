"""One run of a job from its start to its end: its record, its result line, and the call of `--on-end`."""

from __future__ import annotations

import logging
import os
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from m3ray.config import as_json
from m3ray.config.options import RunOptions
from m3ray.console import LineKeeper, publish, write_temporary_log
from m3ray.errors import JobFailedError, M3RayError
from m3ray.pipelines.runtime.cut_off import RUNNING, describe_killed_run
from m3ray.pipelines.runtime.end_table import make_end_table
from m3ray.pipelines.runtime.events import Event, EventName, emit
from m3ray.pipelines.runtime.failures import as_traceback
from m3ray.pipelines.runtime.on_end import call_target, redact_target
from m3ray.pipelines.runtime.progress import run_name
from m3ray.pipelines.runtime.run_record import RunRecord
from m3ray.scoring.build import list_versions
from m3ray.storage.rejects import REJECTS_FOLDER
from m3ray.storage.versions import git_commit

if TYPE_CHECKING:
    from m3ray.pipelines.runtime.job import Job

logger = logging.getLogger(__name__)

_LAST_EVENTS: dict[str, EventName] = {"success": "done", "partial": "done", "failed": "failed", "stopped": "stopped"}


class JobRun:
    """A run of a job: `begin`, then `finish` while the lock is held, then `end`.

    Args:
        job: job that runs.
        options: options of the job.
        lines: keeper of the lines that it logs.
    """

    def __init__(self, job: Job, options: RunOptions, lines: LineKeeper) -> None:
        self.job, self.options, self.lines = job, options, lines
        self.started = time.time()
        self.name = run_name(job.name, self.started)
        self.status = RUNNING
        self.record: RunRecord | None = None
        self._outcome: tuple[Event, str | None] | None = None

    def begin(self) -> None:
        """Begin the record if the job has the root, and log it if the run before was killed."""
        if not self.job.has_begun:
            return
        killed_run = describe_killed_run(self.job.root, self.job.name)
        self.record = RunRecord(self.job.root.uri, self.name, self.lines, self._config, self._summary)
        emit("started")
        if killed_run:
            logger.warning(f"{self.job.name}: {killed_run}")

    def finish(self, status: str, failure: M3RayError | None) -> tuple[Event, str | None]:
        """Set how the run ended, log its table and write the record; a second call changes nothing.

        Args:
            status: `success`, `partial`, `failed` or `stopped`.
            failure: what went wrong, if anything.
        Returns:
            The run's last event, and where its log lies if there is one.
        """
        if self._outcome is None:
            self.status = status
            if self.record is not None and not self.options.dry_run:
                self._log_table(self.record.log_location)
            event = self._last_event(status, self._result_line() if failure is None else str(failure))
            publish(event)
            self._outcome = event, None  # before the wait for the storage: an interrupt there changes no outcome
            self._outcome = event, self._write_log(failure)
        return self._outcome

    def end(self, status: str, failure: M3RayError | None) -> M3RayError | None:
        """Finish the record, call `--on-end`, and log the result line.

        Args:
            status: `success`, `partial`, `failed` or `stopped`.
            failure: what went wrong, if anything.
        Returns:
            The failure, with the place of its traceback if it has one to show.
        """
        event, log = self.finish(status, failure)
        result = self._result_line()
        if self.options.on_end and not self.options.dry_run:
            call_target(self.options.on_end, self._as_hook_input(event, result), self._hook_environment(), logger.info)
        logger.info(result)
        if self.record is not None:
            if not self.record.failure:
                self.record.write_now()
            self.record.close()
        return _add_log_location(failure, log) if isinstance(failure, JobFailedError) else failure

    def _log_table(self, log: str) -> None:
        job, stage = self.job, "" if self.status in ("success", "partial") else self.job.current_stage
        seconds = time.time() - self.started
        for line in make_end_table(job.name, job.summary, seconds, places=job.places, stage=stage, log=log):
            logger.info(line)

    def _result_line(self) -> str:
        return result_line(self.job, self.status, dry=self.options.dry_run)

    def _last_event(self, status: str, message: str) -> Event:
        values: dict[str, Any] = {"status": status}
        values |= {key: self.job.summary[key] for key in ("clips", "rejected") if key in self.job.summary}
        return Event(_LAST_EVENTS[status], message, values)

    def _write_log(self, failure: M3RayError | None) -> str | None:
        """Write the log, into a temporary file where the root takes none; return where it lies."""
        if self.record is None:
            if not isinstance(failure, JobFailedError):
                return None
            return write_temporary_log("\n".join([*self.lines.lines, as_traceback(failure)]))
        if self.record.write_now():
            return self.record.log_location
        path = write_temporary_log(self.record.text())
        logger.warning(
            f"record: {self.record.log_location} could not be written ({self.record.failure}): it lies in {path}"
        )
        return path

    def _as_hook_input(self, event: Event, result: str) -> dict[str, Any]:
        """The last event as `--on-end` gets it; `text` is what chat servers show of a message."""
        context = {"job": self.job.name} if self.record is None else self.record.event_context()
        return {**event.as_dict(context), "root": self.job.root.uri, "text": result}

    def _hook_environment(self) -> dict[str, str]:
        run = "" if self.record is None else self.name
        return {"M3RAY_STATUS": self.status, "M3RAY_RUN": run, "M3RAY_ROOT": self.job.root.uri}

    def _config(self) -> dict[str, Any]:
        options = self.options
        if options.on_end:
            options = replace(options, on_end=redact_target(options.on_end))
        return {"options": as_json(options), "versions": list_versions(), "commit": git_commit()}

    def _summary(self) -> dict[str, Any]:
        """What there is to tell now; while the job runs also its stage, its counts and the time of this sign."""
        job, now = self.job, time.time()
        base: dict[str, Any] = {"job": job.name, "run": self.name, "status": self.status, "started": self.started}
        base |= {"updated": now, "wall_seconds": now - self.started}
        base |= {"host": socket.gethostname(), "pid": os.getpid(), "devices": job.meter.devices()}
        counts = self.record.counts() if self.record is not None else {}
        if self.status in ("success", "partial"):
            return {**base, **job.summary}
        if self.status == RUNNING:
            return {**base, "stage": job.current_stage, **job.summary, **counts}
        return {**base, "stage": job.current_stage, **_without_pace(counts), **job.summary}


def _without_pace(counts: dict[str, Any]) -> dict[str, Any]:
    return {name: count for name, count in counts.items() if name not in ("clips_per_second", "seconds_left")}


def _add_log_location(failure: JobFailedError, log: str | None) -> JobFailedError:
    extended = JobFailedError(f"{failure}; traceback in {log}" if log else str(failure))
    extended.__cause__, extended.is_reported = failure.__cause__, failure.is_reported
    return extended


def result_line(job: Job, status: str, *, dry: bool) -> str:
    """The line that a person looks for at the end of a log, and a script greps.

    Args:
        job: job that ended.
        status: `success`, `partial`, `failed` or `stopped`.
        dry: whether it was a dry run.
    Returns:
        `JOB: result: STATUS: ` and a few words.
    """
    if dry and status == "success":
        return f"{job.name}: result: success: a dry run, nothing was written"
    stays = "what was committed stays" if job.has_begun else "nothing was done"
    waiting = job.summary.get("storage_failed")
    again = f" ({waiting} of them for the storage alone: the next run tries these again)" if waiting else ""
    words = {
        "success": "every clip has its features" if "clips" in job.summary else "done",
        "partial": f"{job.summary.get('rejected')} of {job.summary.get('clips')} clips rejected{again}, "
        f"reasons in {(job.workspace or job.root).display(*REJECTS_FOLDER)}",
        "stopped": f"{stays}; the same command goes on from there",
        "failed": f"{stays}; the error stands in the last line",
    }
    return f"{job.name}: result: {status}: {words[status]}"
