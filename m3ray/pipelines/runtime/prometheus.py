"""What Ray's dashboard and Prometheus show of a job, and the structured log lines of clips."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache

import pyarrow as pa
from ray.util import metrics

_logger = logging.getLogger("m3ray.clips")


@cache
def _clips() -> metrics.Counter:
    return metrics.Counter("m3ray_clips", "Clips done (reason empty) and rejected, by reason.", ("outcome", "reason"))


@cache
def _seconds() -> metrics.Counter:
    return metrics.Counter("m3ray_stage_seconds", "Seconds that clips spent in each stage.", ("stage",))


def count_clips(done: int, reasons: Iterable[str]) -> None:
    """Adds clips to `m3ray_clips`.

    Args:
        done: those with features.
        reasons: of the rejected ones.
    """
    if done:
        _clips().inc(done, {"outcome": "done", "reason": ""})
    for reason, count in Counter(reasons).items():
        _clips().inc(count, {"outcome": "rejected", "reason": reason})


def count_seconds(seconds: Mapping[str, float]) -> None:
    """Adds to `m3ray_stage_seconds`."""
    for stage, spent in seconds.items():
        if spent > 0:
            _seconds().inc(spent, {"stage": stage})


def log_rejects(rejects: pa.Table) -> None:
    """A line of JSON a rejected clip, in the log of the worker (`ray logs`, the dashboard's Logs)."""
    for row in rejects.to_pylist():
        _logger.warning(json.dumps({"event": "clip_rejected", **row}))
