"""What surrounds every job: the root's lock, signals, the run's record, and errors as one line."""

from __future__ import annotations

import errno
import logging
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m3ray.config.options import RunOptions
from m3ray.console import LineKeeper, configure_console, log_details, log_python_warnings, show_work
from m3ray.errors import JobFailedError, M3RayError
from m3ray.pipelines.runtime.device_meter import DeviceMeter
from m3ray.pipelines.runtime.end_table import count_reasons, list_places
from m3ray.pipelines.runtime.events import emit
from m3ray.pipelines.runtime.failures import as_m3ray_error, as_traceback, explain_exception, name_and_text
from m3ray.pipelines.runtime.job_run import JobRun
from m3ray.pipelines.runtime.on_end import check_on_end
from m3ray.pipelines.runtime.progress import Progress
from m3ray.pipelines.runtime.rate import duration
from m3ray.storage.disk import is_full, nearest_existing
from m3ray.storage.dry_root import DryRoot
from m3ray.storage.filesystems import is_local, local_path
from m3ray.storage.lock import hold_lock
from m3ray.storage.root import Root

logger = logging.getLogger(__name__)


@dataclass
class Job:
    """A running job.

    Args:
        root: root that everything it makes lies under.
        name: name of the job, `extract` for one.
        summary: values for `runs/<run>/summary.json`, plain JSON.
        meter: meter of the devices that it uses.
        has_begun: whether it got the root's lock; from then on it leaves a record.
        current_stage: name of the stage that it is in; empty between stages.
        workspace: root below `root` whose `rejects/` has the job's rejected clips; None: `root` itself.
        places: rows of the table at its end: why clips were rejected, and where what it made lies.
    """

    root: Root
    name: str
    summary: dict[str, Any] = field(default_factory=dict)
    meter: DeviceMeter = field(default_factory=DeviceMeter)
    has_begun: bool = False
    current_stage: str = ""
    workspace: Root | None = None
    places: list[tuple[str, str]] = field(default_factory=list)

    def set_outcome(self, clips: int, rejected: int, waiting: int = 0) -> None:
        """Set what became of the catalogue's clips; with rejects a job succeeds in part.

        Args:
            clips: number of clips in the catalogue.
            rejected: number of clips in `rejects/`.
            waiting: number of those that only the storage failed; the next run tries them again.
        """
        self.summary |= {"clips": clips, "rejected": rejected, "storage_failed": waiting}

    def add_progress(self, progress: Progress) -> None:
        """Add an extraction's counts and seconds to the summary.

        Args:
            progress: progress of the extraction, at its end.
        """
        self.summary["clips_done"] = progress.done
        self.summary["clips_rejected"] = progress.rejected
        self.summary["stage_seconds"] = dict(progress.seconds.by_stage)
        self.summary["extract_seconds"] = progress.wall

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure how long a stage takes, and emit events as it begins and ends.

        Args:
            name: name of the stage, as the summary and the events show it.
        """
        start, self.current_stage = time.monotonic(), name
        emit("stage", f"{name} begins")
        with show_work(_tell_seconds(name)):
            yield
        self.summary.setdefault("seconds", {})[name] = seconds = round(time.monotonic() - start, 3)
        emit("stage", f"{name} ends", seconds=seconds)
        self.current_stage = ""


@contextmanager
def run_job(name: str, options: RunOptions) -> Iterator[Job]:
    """Run a job on its root: lock the root, and keep a record under `runs/`. A dry run leaves nothing.

    Args:
        name: name of the job, `extract` for one.
        options: options of the job.
    Yields:
        The job, for the block that does its work.
    Raises:
        ConfigError: If `--on-end` is an address that cannot be posted to.
        RootBusyError: If another job works on the root.
        M3RayError: If anything else went wrong, in one line; the original exception is its cause, and the traceback is
            in the log.
    """
    configure_console()
    check_on_end(options.on_end)
    root = (DryRoot if options.dry_run else Root)(options.out)
    job = Job(root, name)
    status, failure = "failed", None
    with LineKeeper() as lines, log_python_warnings(), _exit_on_sigterm():
        run = JobRun(job, options, lines)
        try:
            with show_work(_tell_seconds(name)), _hold_lock(job, dry=options.dry_run):
                try:
                    run.begin()
                    yield job
                    if not options.dry_run:
                        job.places = list_places(name, root)
                    status = "partial" if job.summary.get("rejected") else "success"
                    if status == "partial":
                        job.places = [*count_reasons(job.workspace or root), *job.places]
                except Exception as error:
                    failure = _explain_failure(job, error)
                except (KeyboardInterrupt, SystemExit):  # Ctrl-C; a signal as `ray job stop` sends it
                    status = "stopped"
                    raise
                finally:  # while the lock is held: whoever takes it next sees that this run ended by itself
                    run.finish(status, failure)
        except Exception as error:
            failure = failure or _explain_failure(job, error)
        except (KeyboardInterrupt, SystemExit):
            status = "stopped"
            raise
        finally:
            failure = run.end(status, failure)
    if failure is not None:
        raise failure


def _tell_seconds(name: str) -> Callable[[], str]:
    """A function that says for how long something has gone on."""
    start = time.monotonic()
    return lambda: f"{name}: {duration(time.monotonic() - start)} so far"


@contextmanager
def _hold_lock(job: Job, *, dry: bool) -> Iterator[None]:
    """Hold the root's lock for the length of the block; a dry run needs none."""
    if dry:
        yield
        return
    with hold_lock(job.root, job.name, tell=logger.info) as lock:
        job.root.fence = lock.fence
        job.has_begun = True
        yield


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exit, so that the record is finished; Ray, once it is there, does the same."""
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


def _explain_failure(job: Job, error: Exception) -> M3RayError:
    """The failure in one line; its traceback goes to the log."""
    failure = as_m3ray_error(error)
    if isinstance(failure, JobFailedError):
        message = _explain_full_disk(job.root, error) or str(failure)
        failure = JobFailedError(f"{job.current_stage or job.name} under {job.root.uri}: {message}")
    failure.is_reported = True
    job.summary["error"] = str(failure)
    log_details(logger, as_traceback(error))
    if failure is not error:
        failure.__cause__ = error
    return failure


def _explain_full_disk(root: Root, error: Exception) -> str | None:
    """The message where a disk is full: libraries complain of a truncated file instead. None where there is room."""
    folders = [Path(tempfile.gettempdir())]
    if is_local(root.uri):
        folders.append(nearest_existing(Path(local_path(root.uri))))
    full = next((folder for folder in folders if is_full(folder)), None)
    if full is None:
        return None
    name, text = name_and_text(error)
    return explain_exception("OSError", f"[Errno {errno.ENOSPC}] no room left on {full}; {name}: {text}")
