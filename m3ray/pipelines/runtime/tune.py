"""Ray Tune as every search and study here uses it: its files, its table, its silence."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from ray import tune

from m3ray.pipelines.runtime.cluster import Resources


@contextmanager
def tune_folder() -> Iterator[str]:
    """A folder for Tune's own files, for the length of the block: on the driver's disk, readable by its user alone.

    Tune unpickles what it keeps there (a trial's error, while it still runs), so it must not be the root, where others
    may write. Trials report numbers and no checkpoints, so workers on other machines need not reach it.
    """
    with tempfile.TemporaryDirectory(prefix="m3ray-tune-", ignore_cleanup_errors=True) as folder:
        yield folder


def trial_resources(on: Resources) -> dict[str, float]:
    """What Tune reserves for a trial: several share a GPU, as these models fill a small part of one."""
    return {"cpu": 1, "gpu": 0.25} if on.gpus else {"cpu": 1}


def tune_table(*parameters: str) -> tune.CLIReporter:
    """Tune's table, every half minute and at the end."""
    shown = ["features", "parameters", "spearman", "mse", "best_epoch", "epoch"]
    return tune.CLIReporter(
        metric_columns=shown,
        parameter_columns=list(parameters),
        max_report_frequency=30,
        max_column_length=40,
        max_progress_rows=100,
        max_error_rows=10,
    )


def quiet_tune() -> None:
    """Tune's table, not its advice nor a page for each trial; Ctrl-C ends the job, as it does in every other stage.

    Tune's own handler takes the first Ctrl-C for the end of its trials alone, and stays when they are done.
    """
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
