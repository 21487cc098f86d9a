"""What a job tells of the run before it, if that was killed."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import Any

from m3ray.pipelines.runtime.rate import duration
from m3ray.storage.lock import PREDICT
from m3ray.storage.root import Root

_RUN = re.compile(r"\d{8}T\d{6}Z-(?P<job>[a-z]+)-[0-9a-f]{4}")
RUNNING = "running"


def describe_killed_run(root: Root, job: str) -> str:
    """Describe the last run of the same kind of work on the root, if it was killed.

    Args:
        root: root whose lock for that work this process holds; a run that is recorded as running is dead then.
        job: name of the job that begins.
    Returns:
        When that run began, how far it came and where its log lies, in one line; empty if it ended by itself.
    """
    with suppress(Exception):  # whatever another run left must not hinder this one
        runs = [(name, run["job"]) for name in root.list_names("runs") if (run := _RUN.fullmatch(name))]
        same = [name for name, other in runs if (other == PREDICT) == (job == PREDICT)]
        if same and root.exists("runs", same[-1], "summary.json"):
            return _describe(root, same[-1], root.read_json("runs", same[-1], "summary.json"))
    return ""


def _describe(root: Root, run: str, summary: dict[str, Any]) -> str:
    if summary["status"] != RUNNING:
        return ""
    started = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(summary["started"]))
    done = f", {summary['clips_done']} of {summary['clips_total']} clips done" if "clips_done" in summary else ""
    owner = f"{summary['job']} of {started} (process {summary['pid']} on {summary['host']})"
    wall, log = duration(summary["wall_seconds"]), root.display("runs", run, "log.txt")
    return f"the run before, {owner}, was cut off; its last sign came after {wall}{done}; its log: {log}"
