"""One trial: all the runs of a variant, trained together, and the tables that it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from m3ray.errors import StudyError
from m3ray.features.dataset import StudyData
from m3ray.features.matrix import Features
from m3ray.model import parameter_count
from m3ray.model.metrics import METRICS, NAMES
from m3ray.study.variants import Variant
from m3ray.training.stacked import OnEpoch, Trained, predict, train_runs


def columns_of(features: Features, variant: Variant) -> np.ndarray:
    """Positions of the columns that a variant sees.

    Raises:
        StudyError: a tier or feature that the study does not have.
    """
    lacking = [tier for tier in variant.tiers if tier not in features.tiers]
    if lacking or not variant.tiers:
        raise StudyError(f"{variant.name}: no features of tier {', '.join(lacking) or '(none asked for)'}")
    seen = np.concatenate([features.columns_of(tier) for tier in variant.tiers])
    for feature in variant.without:
        left_out = features.columns_of("raw", feature)
        if not len(left_out):
            raise StudyError(f"{variant.name}: the raw tier has no feature {feature}")
        seen = seen[~np.isin(seen, left_out)]
    return seen


@dataclass(frozen=True)
class TrialResult:
    """What a trial leaves.

    Args:
        trained: the models.
        columns: positions that they see.
        runs: a row a run and epoch, columns of `runs.parquet`.
        predictions: a row a val clip: mean over runs and standard deviation.
        summary: the row of `trials.parquet`, differences to come.
    """

    trained: Trained
    columns: np.ndarray
    runs: pd.DataFrame
    predictions: pd.DataFrame
    summary: dict[str, float | int | str | None]


def run_trial(
    variant: Variant,
    data: StudyData,
    seeds: Sequence[int],
    device: torch.device,
    on_epoch: OnEpoch | None = None,
    stack: int | None = None,
) -> TrialResult:
    """Trains a variant's runs on the train split and measures them on val.

    Args:
        variant: tiers and settings.
        data: all tiers' matrix.
        seeds: one a run.
        device: to train on.
        on_epoch: called after each epoch of each stack of runs.
        stack: runs trained at once; None: as many as suit the device.
    """
    columns = columns_of(data.features, variant)
    matrix = torch.from_numpy(np.ascontiguousarray(data.scaled[:, columns])).to(device)
    scores = torch.from_numpy(data.scores.copy()).to(device)  # the object store's arrays are read-only
    split = [(matrix[rows], scores[rows]) for rows in map(torch.tensor, (data.train, data.val))]
    trained = train_runs(split[0], split[1], variant.training, seeds, on_epoch=on_epoch, stack=stack)
    test = predict(trained.model, matrix[torch.tensor(data.test).to(matrix.device)])
    return summarised(variant, columns, trained, data, test)


def summarised(
    variant: Variant, columns: np.ndarray, trained: Trained, data: StudyData, test: np.ndarray
) -> TrialResult:
    """What a trial leaves of trained runs.

    Args:
        variant: that they are of.
        columns: positions that they see.
        trained: the runs.
        data: that they were trained on.
        test: their predictions of the test split, (R, T); T may be 0.
    """
    runs = runs_frame(variant, trained)
    summary = _summary(variant, columns, trained, runs) | _on_test(test, data)
    return TrialResult(trained, columns, runs, _predictions(data, trained), summary)


def _on_test(predictions: np.ndarray, data: StudyData) -> dict[str, float | None]:
    """The last epoch on the test split, which chose nothing; None where there is none, or it has one score."""
    names = ("test_spearman", "test_spearman_std", "test_mse")
    truth = data.scores[data.test]
    if len(truth) < 2 or np.ptp(truth) == 0:
        return dict.fromkeys(names)
    rho = METRICS["spearman"](predictions, truth)
    rho = rho[np.isfinite(rho)]
    values = (
        float(rho.mean()) if len(rho) else None,
        float(rho.std(ddof=1)) if len(rho) > 1 else None,
        float(METRICS["mse"](predictions, truth).mean()),
    )
    return dict(zip(names, values, strict=True))


def runs_frame(variant: Variant, trained: Trained) -> pd.DataFrame:
    """A row a run and epoch."""
    runs, epochs = trained.train_loss.shape
    frame = pd.DataFrame(
        {
            "variant": variant.name,
            "run": np.repeat(np.arange(runs), epochs),
            "seed": np.repeat(trained.seeds, epochs),
            "epoch": np.tile(np.arange(1, epochs + 1), runs),
            "train_loss": trained.train_loss.ravel(),
        }
    )
    for name in NAMES:
        frame[f"val_{name}"] = trained.metrics[name].ravel()
    return frame


def _predictions(data: StudyData, trained: Trained) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "clip_id": [data.features.clip_ids[row] for row in data.val],
            "truth": data.scores[data.val],
            "score": trained.val.mean(axis=0),
            "spread": trained.val.std(axis=0, ddof=1) if len(trained.val) > 1 else np.zeros(trained.val.shape[1]),
        }
    )


def _summary(
    variant: Variant, columns: np.ndarray, trained: Trained, runs: pd.DataFrame
) -> dict[str, float | int | str | None]:
    """The last epoch's metrics, mean and deviation over the runs that have them, and the best epoch's Spearman."""
    last = runs[runs["epoch"] == runs["epoch"].max()]
    by_epoch = runs.groupby("epoch")["val_spearman"].mean().dropna()
    summary: dict[str, float | int | str | None] = {
        "variant": variant.name,
        "tiers": "+".join(variant.tiers),
        "full": variant.full,
        "features": len(columns),
        "parameters": parameter_count(len(columns), variant.training.hidden),
        "runs": len(trained.seeds),
        "status": _status(last),
    }
    for name in NAMES:
        values = last[f"val_{name}"].to_numpy()
        values = values[np.isfinite(values)]
        summary[name] = float(values.mean()) if len(values) else None
        summary[f"{name}_std"] = float(values.std(ddof=1)) if len(values) > 1 else None
    summary["best_epoch"] = int(by_epoch.idxmax()) if len(by_epoch) else None
    summary["best_spearman"] = float(by_epoch.max()) if len(by_epoch) else None
    return summary


def _status(last: pd.DataFrame) -> str:
    """`done`, or how many runs have no rank correlation: they diverged, or predict one score for all clips."""
    bad = int((~np.isfinite(last["val_spearman"])).sum())
    return "done" if not bad else f"{bad} of {len(last)} runs diverged or are constant"
