"""What a job finds of the run before it, where that was killed."""

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


def cut_off(root: Root, job: str) -> str:
    """A line on the last run of the same folder of work, if it was killed; empty where it ended by itself.

    Args:
        root: whose lock for that work is held: a run that says it is running is dead then.
        job: that asks.
    """
    with suppress(Exception):  # whatever another run left must not hinder this one
        found = [(name, run["job"]) for name in root.names("runs") if (run := _RUN.fullmatch(name))]
        same = [name for name, other in found if (other == PREDICT) == (job == PREDICT)]
        if same and root.exists("runs", same[-1], "summary.json"):
            return _words(root, same[-1], root.read_json("runs", same[-1], "summary.json"))
    return ""


def _words(root: Root, run: str, summary: dict[str, Any]) -> str:
    if summary["status"] != RUNNING:
        return ""
    begun = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(summary["started"]))
    done = f", {summary['clips_done']} of {summary['clips_total']} clips done" if "clips_done" in summary else ""
    whose = f"{summary['job']} of {begun} (process {summary['pid']} on {summary['host']})"
    lasted, log = duration(summary["wall_seconds"]), root.display("runs", run, "log.txt")
    return f"the run before, {whose}, was cut off; its last sign came after {lasted}{done}; its log: {log}"
