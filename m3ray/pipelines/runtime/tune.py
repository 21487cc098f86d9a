"""Ray Tune as every search and study here uses it: where its files go, what it prints, what a trial reserves."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from ray import tune

from m3ray.pipelines.runtime.cluster import Resources


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


def make_reporter(*parameters: str) -> tune.CLIReporter:
    """Make the reporter that prints Tune's table every half minute and at the end.

    Args:
        *parameters: hyper-parameters that have a column.
    Returns:
        The reporter.
    """
    return tune.CLIReporter(
        metric_columns=["features", "parameters", "spearman", "mse", "best_epoch", "epoch"],
        parameter_columns=list(parameters),
        max_report_frequency=30,
        max_column_length=40,
        max_progress_rows=100,
        max_error_rows=10,
    )


def silence_tune() -> None:
    """Let Tune print its table alone, without advice and logs of each trial, and let Ctrl-C end the job.

    Tune's own handler takes the first Ctrl-C for the end of its trials alone, and remains when they are done.
    """
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
