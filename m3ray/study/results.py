"""A study's tables: the trials' rows put together, each compared with its full model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from m3ray.study.statistics import paired_difference


def last_epochs(runs: pd.DataFrame) -> pd.DataFrame:
    """The last epoch of each run."""
    return runs[runs["epoch"] == runs.groupby(["variant", "run"])["epoch"].transform("max")]


def with_differences(trials: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """`trials` with `delta_spearman`, `delta_low`, `delta_high`: each variant's runs minus those of its full model.

    Runs are paired by seed. The full model itself, and variants whose full model is missing, have none.
    """
    last = last_epochs(runs)
    rows = [_difference(row, last) for row in trials.to_dict("records")]
    out = trials.copy()
    for column, position in (("delta_spearman", 0), ("delta_low", 1), ("delta_high", 2)):
        out[column] = pd.array([row[position] for row in rows], dtype="Float64").to_numpy(float, na_value=np.nan)
    return out


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
