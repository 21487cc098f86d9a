"""Ray Tune as every search and study here uses it: where its files go, what it prints, what a trial reserves."""

from __future__ import annotations

import logging
import math
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ray import tune

from m3ray.console import Work, log_details, log_progress, publish
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.rate import duration

logger = logging.getLogger(__name__)

# A table of Tune may have a hundred rows: the log has one now and then, and the last.
_REPORT_SECONDS, _LINE_SECONDS, _TABLE_SECONDS = 2, 30.0, 600.0


@contextmanager
def temporary_tune_folder() -> Iterator[str]:
    """Make a folder for Tune's own files for the length of the block, on the driver's disk, for its user alone.

    Tune unpickles what it keeps there (a trial's error, while it still runs), so it must not be the root, where others
    may write. Trials report numbers and no checkpoints, so workers on other machines need not reach it.

    Yields:
        Path of the folder.
    """
    with tempfile.TemporaryDirectory(prefix="m3ray-tune-", ignore_cleanup_errors=True) as folder:
        yield folder


def trial_resources(resources: Resources) -> dict[str, float]:
    """Resources that Tune, or Ray, reserves for a trial; several share a GPU, as these models fill a small part of one.

    Args:
        resources: resources of the cluster.
    Returns:
        Resource to amount, as Tune takes it.
    """
    return {"cpu": 1, "gpu": 0.25} if resources.gpus else {"cpu": 1}


class LoggedReporter(tune.CLIReporter):
    """Tune's reporter, whose table goes to the run's log; the screen has the counts of trials, when they change."""

    _counts = _shown = ""
    _began: float | None = None
    _last_table = _last_line = -math.inf  # the first table comes at once, the first line after a while

    def report(self, trials: Sequence[Any], done: bool, *sys_info: Any) -> None:
        """Log the table, and show how many trials are done.

        Args:
            trials: trials that Tune knows so far.
            done: whether the search has ended.
            *sys_info: lines on the machine for the table.
        """
        now = time.monotonic()
        self._counts = describe_trials([trial.status for trial in trials])
        if self._began is None:
            self._began = self._last_line = now
            publish(Work(self.describe, begins=True))
        if done or now - self._last_table >= _TABLE_SECONDS:
            self._last_table = now
            log_details(logger, self._progress_str(trials, done, *sys_info))
        if self._counts != self._shown and (done or now - self._last_line >= _LINE_SECONDS):
            self._shown, self._last_line = self._counts, now
            log_progress(logger, f"trials: {self._counts}")
        if done:
            publish(Work(self.describe, begins=False))

    def describe(self) -> str:
        """How many trials are done, for a terminal's line."""
        seconds = 0.0 if self._began is None else time.monotonic() - self._began
        return f"trials: {self._counts}, {duration(seconds)} so far"


def describe_trials(statuses: Sequence[str]) -> str:
    """Describe how far trials are.

    Args:
        statuses: status of each trial, in Tune's words.
    Returns:
        Text such as `3 done, 2 running, 1 waiting`; none but `done` is said of no trial.
    """
    counts = Counter(statuses)
    names = {"TERMINATED": "done", "RUNNING": "running", "PENDING": "waiting", "ERROR": "failed"}
    return ", ".join(f"{counts[status]} {name}" for status, name in names.items() if counts[status] or name == "done")


def make_reporter(*parameters: str) -> LoggedReporter:
    """Make the reporter that logs Tune's table every ten minutes and at the end.

    Args:
        *parameters: hyper-parameters that have a column.
    Returns:
        The reporter.
    """
    return LoggedReporter(
        metric_columns=["features", "parameters", "spearman", "mse", "best_epoch", "epoch"],
        parameter_columns=list(parameters),
        max_report_frequency=_REPORT_SECONDS,
        max_column_length=40,
        max_progress_rows=100,
        max_error_rows=10,
    )


def silence_tune() -> None:
    """Let Tune log its table alone, without advice and logs of each trial, and let Ctrl-C end the job.

    Tune's own handler takes the first Ctrl-C for the end of its trials alone, and remains when they are done.
    """
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
