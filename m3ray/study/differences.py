"""Differences of a study's variants to their full model, each with one interval over runs and clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from m3ray.study.statistics import Difference, MeasuredRuns, compare_runs, measure_runs

PREFIXES = {
    ("val", "spearman"): "delta",
    ("val", "mse"): "mse_delta",
    ("test", "spearman"): "test_delta",
    ("test", "mse"): "test_mse_delta",
}
"""Split and metric to how the columns of its difference begin."""

_COLUMNS = {
    "low": "low",
    "high": "high",
    "p": "p",
    "degrees_of_freedom": "df",
    "seed_variance": "seed_variance",
    "clip_variance": "clip_variance",
    "interaction_variance": "interaction_variance",
}
_OLDER = "trained before predictions of the test split were kept"


@dataclass(frozen=True)
class SplitPredictions:
    """Predictions of a study's variants on one split.

    Args:
        predictions: Variant to its predictions, (R, N), after each run's reported epoch.
        truth: Scores of the clips, (N,).
        weights: Weight of each clip, (N,); None: all alike.
    """

    predictions: Mapping[str, np.ndarray]
    truth: np.ndarray
    weights: np.ndarray | None = None

    @cached_property
    def is_constant(self) -> bool:
        """Whether all scores are equal."""
        return len(self.truth) > 0 and bool(np.ptp(self.truth) == 0)


def name_estimate(prefix: str) -> str:
    """Name of the column of a difference: `delta_spearman`, `mse_delta`, `test_delta_spearman`, `test_mse_delta`.

    Args:
        prefix: How the columns of the difference begin.
    Returns:
        The name.
    """
    return prefix if "mse" in prefix else f"{prefix}_spearman"


def select_last_epochs(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of each run's last epoch.

    Args:
        runs: Content of `runs.parquet`, a row a run and epoch.
    Returns:
        A row a run.
    """
    return runs[runs["epoch"] == runs.groupby(["variant", "run"])["epoch"].transform("max")]


def add_differences(
    trials: pd.DataFrame, runs: pd.DataFrame, val: SplitPredictions, test: SplitPredictions | None = None
) -> pd.DataFrame:
    """Add each variant's differences to its full model to the trials, on val and on test, in Spearman and in MSE.

    Runs are paired by seed. A difference has its estimate, `_low` and `_high` of the 95 % interval, `_p`, `_df`, the
    parts of its variance, the number of its `_runs` and `_clips`, and a `_reason` where the interval or the estimate is
    undefined. The full model itself has none.

    Args:
        trials: A row a variant.
        runs: Content of `runs.parquet`, a row a run and epoch.
        val: Predictions on val.
        test: Predictions on test; None, or no clip: the study has no test split.
    Returns:
        The trials with these columns; their names begin as `PREFIXES` says.
    """
    seeds = {name: part["seed"].tolist() for name, part in _list_runs(runs).groupby("variant")}
    splits = {"val": val, "test": test or SplitPredictions({}, np.empty(0))}
    out = trials.copy()
    for (split, metric), prefix in PREFIXES.items():
        compared = _Comparison(splits[split], seeds, metric, _OLDER if split == "test" else "no predictions were kept")
        rows = [compared.compare(row["variant"], row["full"]) for row in trials.to_dict("records")]
        for column, values in _as_columns(prefix, rows).items():
            out[column] = values
    return out


def add_mean_errors(trials: pd.DataFrame, val: SplitPredictions) -> pd.DataFrame:
    """Add each variant's mean error on val, prediction less truth over clips and runs: how far it is biased.

    Args:
        trials: A row a variant.
        val: Predictions on val.
    Returns:
        The trials with `mean_error`, in the target's units; not a number where a run diverged, or none was kept.
    """
    errors = {
        name: np.average(predictions - val.truth, axis=1, weights=val.weights).mean()
        for name, predictions in val.predictions.items()
    }
    return trials.assign(mean_error=[errors.get(name, np.nan) for name in trials["variant"]])


def _list_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a run, in the order of the predictions' rows."""
    return runs.drop_duplicates(["variant", "run"]).sort_values(["variant", "run"])


@dataclass(frozen=True)
class _Row:
    difference: Difference
    runs: int | None = None
    clips: int | None = None


class _Comparison:
    """Differences in one metric on one split; the full model's runs are measured once."""

    def __init__(self, split: SplitPredictions, seeds: Mapping[str, Sequence[int]], metric: str, missing: str) -> None:
        self._split, self._seeds, self._metric, self._missing = split, seeds, metric, missing
        self._measured: dict[tuple[str, tuple[int, ...]], MeasuredRuns] = {}

    def compare(self, name: str, full: str | None) -> _Row:
        clips = len(self._split.truth)
        if not isinstance(full, str) or not clips:
            return _Row(Difference(None))
        shared = tuple(seed for seed in self._seeds.get(full, ()) if seed in set(self._seeds.get(name, ())))
        reason = self._explain(name, full, shared)
        if reason:
            return _Row(Difference(None, reason=reason))
        difference = compare_runs(self._measure(full, shared), self._measure(name, shared))
        return _Row(difference, len(shared), clips)

    def _explain(self, name: str, full: str, shared: Sequence[int]) -> str:
        """Why two variants cannot be compared; empty where they can."""
        for model in (full, name):
            if model not in self._seeds:
                return f"{model} was not trained"
        if not {name, full} <= set(self._split.predictions):
            return self._missing
        if not shared:
            return f"no seed in common with {full}"
        if self._split.is_constant and self._metric == "spearman":
            return "all scores are equal: rank correlation is undefined"
        return ""

    def _measure(self, name: str, shared: tuple[int, ...]) -> MeasuredRuns:
        if (name, shared) not in self._measured:
            place = {seed: row for row, seed in enumerate(self._seeds[name])}
            predictions = self._split.predictions[name][[place[seed] for seed in shared]]
            measured = measure_runs(predictions, self._split.truth, self._metric, self._split.weights)
            self._measured[name, shared] = measured
        return self._measured[name, shared]


def _as_columns(prefix: str, rows: Sequence[_Row]) -> dict[str, object]:
    numbers = {name_estimate(prefix): [row.difference.estimate for row in rows]}
    numbers |= {
        f"{prefix}_{name}": [getattr(row.difference, field) for row in rows] for field, name in _COLUMNS.items()
    }
    counts = {f"{prefix}_{name}": [getattr(row, name) for row in rows] for name in ("runs", "clips")}
    return {
        **{name: np.array([np.nan if v is None else v for v in values], float) for name, values in numbers.items()},
        **{name: pd.array(values, dtype="Int64") for name, values in counts.items()},
        f"{prefix}_reason": [row.difference.reason for row in rows],
    }


def read_difference(row: Mapping[str, object], prefix: str = "delta") -> Difference:
    """Read a difference from a row of the trials.

    Args:
        row: A row of `trials.parquet`; columns that an older one lacks are undefined.
        prefix: How the columns of the difference begin.
    Returns:
        The difference. An interval without its probability is of an older kind, over runs alone: it is left out.
    """
    estimate = _number(row.get(name_estimate(prefix)))
    values = {field: _number(row.get(f"{prefix}_{name}")) for field, name in _COLUMNS.items()}
    reason = row.get(f"{prefix}_reason")
    if estimate is not None and f"{prefix}_p" not in row:
        return Difference(estimate, reason="an older study: its interval counted runs alone; run the study again")
    return Difference(estimate, **values, reason=reason if isinstance(reason, str) else "")


def _number(value: object) -> float | None:
    return None if value is None or pd.isna(value) else float(value)  # type: ignore[arg-type]


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
