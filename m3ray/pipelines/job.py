"""What surrounds every job: the root's lock, the run's record, its counts and seconds."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from m3ray.config import as_json
from m3ray.data.lock import locked
from m3ray.data.store import Root
from m3ray.errors import M3RayError
from m3ray.options import RootOptions
from m3ray.pipelines.meter import Meter
from m3ray.pipelines.progress import LineKeeper, Progress, say
from m3ray.pipelines.train import commit, versions


@dataclass
class Job:
    """A running job.

    Args:
        root: everything it makes lives under it.
        name: of the job.
        summary: what goes into `runs/<run>/summary.json`.
        meter: of the devices that it held.
    """

    root: Root
    name: str
    summary: dict[str, Any] = field(default_factory=dict)
    meter: Meter = field(default_factory=Meter)

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
        start = time.monotonic()
        yield
        self.summary.setdefault("seconds", {})[name] = round(time.monotonic() - start, 3)


@contextmanager
def running(name: str, options: RootOptions) -> Iterator[Job]:
    """The job `name` on its root: refuses a root in use, leaves a record under `runs/`.

    Raises:
        RootBusyError: another job works on the root.
    """
    root = Root(options.out)
    job = Job(root, name)
    started = time.time()
    folder = ("runs", time.strftime("%Y%m%dT%H%M%SZ-", time.gmtime(started)) + f"{name}-{uuid.uuid4().hex[:4]}")
    with locked(root, name), LineKeeper() as said:
        status = "failed"
        try:
            yield job
            say(f"{name}: under {root.uri}: {', '.join(root.names())}")
            status = "partial" if job.summary.get("rejected") else "success"
        except M3RayError as error:
            job.summary["error"] = str(error)
            raise
        except (KeyboardInterrupt, SystemExit):  # Ctrl-C; Ray turns `ray job stop`'s signal into an exit
            status = "stopped"
            raise
        finally:
            say(_last_line(job, status))
            record: dict[str, Any] = {"job": name, "status": status, "started": started}
            record["wall_seconds"] = time.time() - started
            record["devices"] = job.meter.devices()
            made_with = {"versions": versions(), "commit": commit()}
            root.write_json({"options": as_json(options), **made_with}, *folder, "config.json")
            root.write_json({**record, **job.summary}, *folder, "summary.json")
            root.write_bytes("\n".join(said.lines).encode() + b"\n", *folder, "log.txt")


def _last_line(job: Job, status: str) -> str:
    """What a person looks for at the end of a log, and a script greps."""
    words = {
        "success": "every clip has its features" if "clips" in job.summary else "done",
        "partial": f"{job.summary.get('rejected')} of {job.summary.get('clips')} clips rejected, reasons in "
        f"{job.root.display('rejects')}",
        "stopped": "what was committed stays; the same command goes on from there",
        "failed": "what was committed stays; the error stands above",
    }
    return f"{job.name}: result: {status}: {words[status]}"
