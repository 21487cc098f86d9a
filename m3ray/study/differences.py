"""A study's tables: the trials' rows put together, each compared with its full model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from m3ray.study.statistics import bootstrap_spearman, paired_difference, percentile_interval


def last_epochs(runs: pd.DataFrame) -> pd.DataFrame:
    """The last epoch of each run."""
    return runs[runs["epoch"] == runs.groupby(["variant", "run"])["epoch"].transform("max")]


_COLUMNS = ("delta_spearman", "delta_low", "delta_high", "boot_low", "boot_high")


def with_differences(
    trials: pd.DataFrame, runs: pd.DataFrame, predictions: Mapping[str, np.ndarray], truth: np.ndarray
) -> pd.DataFrame:
    """`trials` with each variant's difference to its full model.

    Runs are paired by seed: `delta_spearman`, and Student's interval over runs, `delta_low` to `delta_high`. The
    interval over clips, `boot_low` to `boot_high`, is the bootstrap's. The full model itself, and variants whose full
    model is missing, have none.

    Args:
        trials: a row a variant.
        runs: `runs.parquet`.
        predictions: variant to the last epoch's predictions on val, (R, V).
        truth: scores of the val clips, (V,).
    """
    last = last_epochs(runs)
    involved = {name for row in trials.to_dict("records") if row["full"] for name in (row["variant"], row["full"])}
    resampled = {name: bootstrap_spearman(predictions[name], truth) for name in involved & set(predictions)}
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
    found = paired_difference(own.loc[shared].to_numpy(), full.loc[shared].to_numpy())
    return found.mean, found.low, found.high


def in_order(trials: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The rows of a table, in the order that it prints them."""
    present = [name for name in names if name in set(trials["variant"])]
    return trials.set_index("variant").loc[present].reset_index()
