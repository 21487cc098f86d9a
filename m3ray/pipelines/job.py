"""What surrounds every job: the root's lock, the run's record, its counts and seconds."""

from __future__ import annotations

import errno
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m3ray.config import as_json
from m3ray.data.disk import existing, is_full
from m3ray.data.dry_root import DryRoot
from m3ray.data.filesystems import is_local, local_path
from m3ray.data.lock import locked
from m3ray.data.store import Root
from m3ray.errors import JobFailedError, M3RayError
from m3ray.options import RootOptions
from m3ray.pipelines.failures import as_traceback, foreseen, raised, words
from m3ray.pipelines.meter import Meter
from m3ray.pipelines.progress import LineKeeper, Progress, kept_aside, note, run_name, say
from m3ray.pipelines.train import commit, versions


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

    def outcome(self, clips: int, rejected: int) -> None:
        """What became of the catalogue's clips: with rejects a job succeeds in part."""
        self.summary["clips"], self.summary["rejected"] = clips, rejected

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
        yield
        self.doing = ""
        self.summary.setdefault("seconds", {})[name] = round(time.monotonic() - start, 3)


@contextmanager
def running(name: str, options: RootOptions) -> Iterator[Job]:
    """The job `name` on its root: refuses a root in use, leaves a record under `runs/`. A dry run leaves nothing.

    Raises:
        RootBusyError: another job works on the root.
        M3RayError: whatever went wrong, in one line; what it began with is its cause, and its traceback in the log.
    """
    root = (DryRoot if options.dry_run else Root)(options.out)
    job, started = Job(root, name), time.time()
    status, failure = "failed", None
    with LineKeeper() as said:
        try:
            with _held(job, dry=options.dry_run):
                yield job
                if not options.dry_run:
                    say(f"{name}: under {root.uri}: {', '.join(root.names())}")
                status = "partial" if job.summary.get("rejected") else "success"
        except Exception as error:
            failure = _told(job, error)
        except (KeyboardInterrupt, SystemExit):  # Ctrl-C; Ray turns `ray job stop`'s signal into an exit
            status = "stopped"
            raise
        finally:
            say(_last_line(job, status, dry=options.dry_run))
            run = _Run(job, options, status, started, "\n".join(said.lines))
            failure = run.leave(failure)
    if failure is not None:
        raise failure


@contextmanager
def _held(job: Job, *, dry: bool) -> Iterator[None]:
    """The root's lock; a dry run needs none."""
    if dry:
        yield
        return
    with locked(job.root, job.name):
        job.begun = True
        yield


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


@dataclass(frozen=True)
class _Run:
    """What is kept of a run, under `runs/`.

    Args:
        log: its lines.
    """

    job: Job
    options: RootOptions
    status: str
    started: float
    log: str

    def leave(self, failure: M3RayError | None) -> M3RayError | None:
        """Writes the record; where that cannot be done, the log of a failure goes to a file of its own.

        Returns:
            The failure, with the place of its traceback if it has one to show.
        """
        place = None
        if self.job.begun:
            try:
                place = self._write()
            except OSError as error:
                failure = failure or _told(self.job, error)
        if isinstance(failure, JobFailedError):
            where = place or kept_aside(self.log + "\n" + as_traceback(failure))
            failure = _with_place(failure, where)
        return failure

    def _write(self) -> str:
        """Config, summary and log; the path of the log."""
        root, name = self.job.root, self.job.name
        folder = ("runs", run_name(name, self.started))
        record: dict[str, Any] = {"job": name, "status": self.status, "started": self.started}
        record["wall_seconds"] = time.time() - self.started
        record["devices"] = self.job.meter.devices()
        made_with = {"versions": versions(), "commit": commit()}
        root.write_json({"options": as_json(self.options), **made_with}, *folder, "config.json")
        root.write_json({**record, **self.job.summary}, *folder, "summary.json")
        root.write_bytes(self.log.encode(errors="backslashreplace") + b"\n", *folder, "log.txt")
        return root.display(*folder, "log.txt")


def _with_place(failure: JobFailedError, place: str | None) -> JobFailedError:
    found = JobFailedError(f"{failure}; traceback in {place}" if place else str(failure))
    found.__cause__, found.told = failure.__cause__, failure.told
    return found


def _last_line(job: Job, status: str, *, dry: bool) -> str:
    """What a person looks for at the end of a log, and a script greps."""
    if dry and status == "success":
        return f"{job.name}: result: success: a dry run, nothing was written"
    stays = "what was committed stays" if job.begun else "nothing was done"
    words = {
        "success": "every clip has its features" if "clips" in job.summary else "done",
        "partial": f"{job.summary.get('rejected')} of {job.summary.get('clips')} clips rejected, reasons in "
        f"{job.root.display('rejects')}",
        "stopped": f"{stays}; the same command goes on from there",
        "failed": f"{stays}; the error stands in the last line",
    }
    return f"{job.name}: result: {status}: {words[status]}"
