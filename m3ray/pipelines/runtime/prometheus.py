"""Prometheus metrics of clips, which Ray's dashboard shows too, and a structured log line for each rejected clip."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache

import pyarrow as pa
from ray.util import metrics

# In a worker nobody has configured logging: these lines have a handler of their own, on standard error.
_clip_logger = logging.getLogger("m3ray.clips")
_clip_logger.propagate = False
_clip_logger.addHandler(logging.StreamHandler())


@cache
def _clip_counter() -> metrics.Counter:
    return metrics.Counter("m3ray_clips", "Clips done (reason empty) and rejected, by reason.", ("outcome", "reason"))


@cache
def _seconds_counter() -> metrics.Counter:
    return metrics.Counter("m3ray_stage_seconds", "Seconds that clips spent in each stage.", ("stage",))


def count_clips(done: int, reasons: Iterable[str]) -> None:
    """Add clips to the counter `m3ray_clips`.

    Args:
        done: number of clips with features.
        reasons: reason of each rejected clip.
    """
    if done:
        _clip_counter().inc(done, {"outcome": "done", "reason": ""})
    for reason, count in Counter(reasons).items():
        _clip_counter().inc(count, {"outcome": "rejected", "reason": reason})


def count_seconds(seconds: Mapping[str, float]) -> None:
    """Add to the counter `m3ray_stage_seconds`.

    Args:
        seconds: stage to seconds that clips spent in it.
    """
    for stage, amount in seconds.items():
        if amount > 0:
            _seconds_counter().inc(amount, {"stage": stage})


def log_rejects(rejects: pa.Table) -> None:
    """Log a line of JSON for each rejected clip, in the worker's log (`ray logs`, the dashboard's Logs).

    Args:
        rejects: rejected clips, with the columns of `rejects/`.
    """
    for row in rejects.to_pylist():
        _clip_logger.warning(json.dumps({"event": "clip_rejected", **row}))
