"""Differences of a study's variants to their full model, with confidence intervals over runs and over clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from m3ray.study.statistics import bootstrap_spearman, paired_difference, percentile_interval


def select_last_epochs(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of each run's last epoch.

    Args:
        runs: Content of `runs.parquet`, a row a run and epoch.
    Returns:
        A row a run.
    """
    return runs[runs["epoch"] == runs.groupby(["variant", "run"])["epoch"].transform("max")]


_COLUMNS = ("delta_spearman", "delta_low", "delta_high", "boot_low", "boot_high")


def add_differences(
    trials: pd.DataFrame, runs: pd.DataFrame, predictions: Mapping[str, np.ndarray], truth: np.ndarray
) -> pd.DataFrame:
    """Add each variant's difference to its full model to the trials.

    Runs are paired by seed: `delta_spearman`, with the confidence interval of a paired t-test over runs, `delta_low` to
    `delta_high`. The interval over clips, `boot_low` to `boot_high`, is the bootstrap's. The full model itself, and
    variants whose full model is missing, have none.

    Args:
        trials: A row a variant.
        runs: Content of `runs.parquet`, a row a run and epoch.
        predictions: Variant to its predictions on val after the last epoch, (R, V).
        truth: Scores of the val clips, (V,).
    Returns:
        The trials with five more columns.
    """
    last = select_last_epochs(runs)
    compared = {name for row in trials.to_dict("records") if row["full"] for name in (row["variant"], row["full"])}
    resampled = {name: bootstrap_spearman(predictions[name], truth) for name in compared & set(predictions)}
    rows = [
        (*_difference(row, last), *_over_clips(resampled.get(row["variant"]), resampled.get(row["full"])))
        for row in trials.to_dict("records")
    ]
    out = trials.copy()
    for position, column in enumerate(_COLUMNS):
        out[column] = pd.array([row[position] for row in rows], dtype="Float64").to_numpy(float, na_value=np.nan)
    return out


def _over_clips(own: np.ndarray | None, full: np.ndarray | None) -> tuple[float | None, float | None]:
    return (None, None) if own is None or full is None else percentile_interval(own - full)


def _difference(trial: dict[str, object], last: pd.DataFrame) -> tuple[float | None, float | None, float | None]:
    own = last[last["variant"] == trial["variant"]].set_index("seed")["val_spearman"]
    full = last[last["variant"] == trial["full"]].set_index("seed")["val_spearman"]
    shared = own.dropna().index.intersection(full.dropna().index)
    if trial["full"] is None or not len(shared):
        return None, None, None
    difference = paired_difference(own.loc[shared].to_numpy(), full.loc[shared].to_numpy())
    return difference.mean, difference.low, difference.high


def order_rows(trials: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The rows of a table, in the order in which it shows them.

    Args:
        trials: A row a variant.
        names: Names of the table's variants, in order.
    Returns:
        The rows of those variants that were trained.
    """
    present = [name for name in names if name in set(trials["variant"])]
    return trials.set_index("variant").loc[present].reset_index()
