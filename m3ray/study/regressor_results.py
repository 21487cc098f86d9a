"""What a trial of a regressor, or of the ensemble, leaves: tables, predictions, and what it says of train clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from m3ray.features.dataset import StudyData
from m3ray.model.metrics import METRICS
from m3ray.study.trial import (
    frame_predictions,
    mean_over_runs,
    measure_ensemble,
    measure_test,
    select_truth,
    spread_over_runs,
)
from m3ray.study.variants import Variant

NO_EPOCH = 0
"""Epoch of these trials' rows in `runs.parquet`, one a run: they are not trained by epochs."""


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of the train split by models that did not train on the clip.

    Args:
        predictions: Outputs of each run, (R', T), in the unit scale; not a number where a run diverged.
        folds: Fold of each clip, (T,), int64.
        seconds: What they took.
    """

    predictions: np.ndarray
    folds: np.ndarray
    seconds: float = 0.0

    @property
    def finite(self) -> np.ndarray:
        """The runs that diverged in no fold, (R'', T)."""
        return self.predictions[np.isfinite(self.predictions).all(axis=1)]


@dataclass(frozen=True)
class RegressorResult:
    """Model and tables of a trial.

    Args:
        runs: A row a run, columns of `runs.parquet`; its epoch is `NO_EPOCH`.
        predictions: A row a val clip.
        summary: Row of `trials.parquet`, without its difference to the full model.
        val: Predictions of val, (R, V), in the target's units; a regressor's row is repeated for each seed.
        test: Predictions of the test split, (R, T); T may be 0.
        settings: What the model needs beside its tensors, JSON values.
        tensors: Arrays of the model; none of an ensemble, whose members' trials have them.
        chosen: What was chosen on the train split, JSON values.
        out_of_fold: A regressor's predictions of the train split, (1, T); None: an ensemble's.
    """

    runs: pd.DataFrame
    predictions: pd.DataFrame
    summary: dict[str, float | int | str | None]
    val: np.ndarray
    test: np.ndarray
    settings: Mapping[str, Any]
    tensors: Mapping[str, np.ndarray]
    chosen: Mapping[str, Any]
    out_of_fold: OutOfFold | None = None


def summarise_regressor(
    variant: Variant, data: StudyData, seeds: Sequence[int], columns: np.ndarray, val: np.ndarray, test: np.ndarray
) -> RegressorResult:
    """Make the tables of a trial from its predictions.

    Args:
        variant: Variant of the trial.
        data: Scores and splits.
        seeds: Seed of each run of the study, R.
        columns: Positions of the matrix' columns that it sees.
        val: Predictions of val, in the target's units, (R, V), or (1, V) of a model that is the same for every seed:
            it counts as one run, which has no standard deviation.
        test: Predictions of the test split, (R, T) or (1, T); T may be 0.
    Returns:
        The tables, without the model.
    """
    metrics = {name: metric(val, *select_truth(data, data.val)) for name, metric in METRICS.items()}
    summary: dict[str, float | int | str | None] = {
        "variant": variant.name,
        "tiers": "+".join(variant.tiers),
        "full": variant.full,
        "features": len(columns),
        "runs": len(val),
        "status": _describe_status(variant, metrics["spearman"]),
    }
    for name, values in metrics.items():
        summary[name], summary[f"{name}_std"] = mean_over_runs(values), spread_over_runs(values)
    summary |= {"best_epoch": None, "best_spearman": None}
    summary |= measure_ensemble("ensemble", val, data, data.val) | measure_test(test, data)
    return RegressorResult(
        runs=_make_runs(variant, seeds, {name: np.broadcast_to(v, len(seeds)) for name, v in metrics.items()}),
        predictions=frame_predictions(data, val),
        summary=summary,
        val=np.repeat(val, len(seeds) // len(val), axis=0),
        test=np.repeat(test, len(seeds) // len(test), axis=0),
        settings={},
        tensors={},
        chosen={},
    )


def _describe_status(variant: Variant, spearman: np.ndarray) -> str:
    """`done`, or that there is no rank correlation; a constant has none, as it should be."""
    undefined = int((~np.isfinite(spearman)).sum())
    if not undefined or variant.regressor == "constant":
        return "done"
    if len(spearman) == 1:
        return "predicts one score for all clips"
    return f"{undefined} of {len(spearman)} runs diverged or are constant"


def _make_runs(variant: Variant, seeds: Sequence[int], metrics: Mapping[str, np.ndarray]) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "variant": variant.name,
            "run": np.arange(len(seeds)),
            "seed": np.asarray(seeds, np.int64),
            "epoch": NO_EPOCH,
            "train_loss": np.nan,
        }
    )
    return frame.assign(**{f"val_{name}": values for name, values in metrics.items()})
