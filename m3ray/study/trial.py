"""One trial: all the runs of a variant, trained together, and the tables that it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from m3ray.errors import StudyError
from m3ray.features.dataset import StudyData
from m3ray.features.matrix import Features
from m3ray.model import parameter_count
from m3ray.model.metrics import METRICS
from m3ray.study.variants import Variant
from m3ray.training.own_units import in_own_units, make_split, report_in_own_units
from m3ray.training.stacked import OnEpoch, TrainedRuns, predict, train_runs


def select_columns(features: Features, variant: Variant) -> np.ndarray:
    """Positions of the columns that a variant sees.

    Args:
        features: The study's matrix.
        variant: The variant.
    Returns:
        Positions among the matrix' columns, int64.
    Raises:
        StudyError: If the study lacks a tier or feature of the variant.
    """
    missing = [tier for tier in variant.tiers if tier not in features.tiers]
    if missing or not variant.tiers:
        raise StudyError(f"{variant.name}: no features of tier {', '.join(missing) or '(none asked for)'}")
    columns = np.concatenate([features.columns_of(tier) for tier in variant.tiers])
    for feature in variant.without:
        left_out = features.columns_of("raw", feature)
        if not len(left_out):
            raise StudyError(f"{variant.name}: the raw tier has no feature {feature}")
        columns = columns[~np.isin(columns, left_out)]
    return columns


@dataclass(frozen=True)
class TrialResult:
    """Models and tables of a trial.

    Args:
        trained: The trained runs.
        columns: Positions of the matrix' columns that they see.
        runs: A row a run and epoch, columns of `runs.parquet`.
        predictions: A row a val clip: mean and standard deviation over the runs.
        summary: Row of `trials.parquet`, without its difference to the full model.
        test: Predictions of the test split, (R, T); T may be 0.
    """

    trained: TrainedRuns
    columns: np.ndarray
    runs: pd.DataFrame
    predictions: pd.DataFrame
    summary: dict[str, float | int | str | None]
    test: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))


def run_trial(
    variant: Variant,
    data: StudyData,
    seeds: Sequence[int],
    device: torch.device,
    on_epoch: OnEpoch | None = None,
    stack: int | None = None,
    cores: int | None = None,
) -> TrialResult:
    """Train a variant's runs on the train split and evaluate them on val and test.

    Args:
        variant: Tiers and training settings.
        data: Matrix of all tiers, scores and splits.
        seeds: Seed of each run.
        device: Device to train on.
        on_epoch: Function called after each epoch of each group of stacked runs.
        stack: Number of runs trained at once; None: as many as suit the device.
        cores: Cores of a CPU to train groups of runs on side by side; None: one after the other.
    Returns:
        Models and tables of the trial.
    """
    columns = select_columns(data.features, variant)
    matrix = torch.from_numpy(np.ascontiguousarray(data.scaled[:, columns])).to(device)
    train, val = (make_split(matrix, data, rows) for rows in (data.train, data.val))
    on_epoch = report_in_own_units(on_epoch, data.target)
    trained = train_runs(train, val, variant.training, seeds, on_epoch=on_epoch, stack=stack, cores=cores)
    test = data.target.from_unit(predict(trained.model, matrix[torch.tensor(data.test).to(matrix.device)]))
    return summarise_trial(variant, columns, in_own_units(trained, data.target), data, test)


def summarise_trial(
    variant: Variant, columns: np.ndarray, trained: TrainedRuns, data: StudyData, test: np.ndarray
) -> TrialResult:
    """Make the tables of a trial from its trained runs.

    Args:
        variant: Variant of the runs.
        columns: Positions of the matrix' columns that they see.
        trained: The trained runs.
        data: Matrix, scores and splits that they were trained on.
        test: Predictions of the test split, (R, T); T may be 0.
    Returns:
        Models and tables of the trial.
    """
    runs = runs_frame(variant, trained)
    summary = _summary(variant, columns, trained, runs)
    summary |= measure_ensemble("ensemble", trained.val, data, data.val) | measure_test(test, data)
    return TrialResult(trained, columns, runs, frame_predictions(data, trained.val), summary, test)


def measure_ensemble(name: str, predictions: np.ndarray, data: StudyData, rows: np.ndarray) -> dict[str, float | None]:
    """Metrics of the mean of the runs' predictions: what a bundle predicts, and `evaluate` measures.

    Args:
        name: How the names of the metrics begin.
        predictions: Predictions, (R, n), in the target's units.
        data: The study's data.
        rows: Rows of the n clips.
    Returns:
        `<name>_spearman` and `<name>_mse`; None where undefined.
    """
    together = predictions.mean(axis=0, keepdims=True)
    truth, weights = select_truth(data, rows)
    return {
        f"{name}_{metric}": mean_over_runs(METRICS[metric](together, truth, weights)) for metric in ("spearman", "mse")
    }


def select_truth(data: StudyData, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Scores of some clips, and what each weighs.

    Args:
        data: The study's data.
        rows: Rows of the n clips.
    Returns:
        Scores, (n,), in the target's units, and weights, (n,); None: all weigh the same.
    """
    return data.scores[rows], None if data.weights is None else data.weights[rows]


def mean_over_runs(values: np.ndarray) -> float | None:
    """Mean over the runs; None where it is undefined for any of them, as the others' mean would be of a choice.

    Args:
        values: A metric of each run, (R,).
    Returns:
        The mean.
    """
    return float(values.mean()) if np.isfinite(values).all() else None


def spread_over_runs(values: np.ndarray) -> float | None:
    """Standard deviation over the runs; None where there is one run, or the metric is undefined for any.

    Args:
        values: A metric of each run, (R,).
    Returns:
        The deviation.
    """
    return float(values.std(ddof=1)) if len(values) > 1 and np.isfinite(values).all() else None


def measure_test(predictions: np.ndarray, data: StudyData) -> dict[str, float | None]:
    """Metrics of the reported epoch on the test split; None where it is empty or all its scores are equal.

    Args:
        predictions: Predictions of the test split, (R, T), in the target's units.
        data: The study's data.
    Returns:
        Name to value, as `trials.parquet` has them.
    """
    names = ("test_spearman", "test_spearman_std", "test_mse", "test_ensemble_spearman", "test_ensemble_mse")
    truth, weights = select_truth(data, data.test)
    if len(truth) < 2 or np.ptp(truth) == 0:
        return dict.fromkeys(names)
    rho = METRICS["spearman"](predictions, truth, weights)
    return {
        "test_spearman": mean_over_runs(rho),
        "test_spearman_std": spread_over_runs(rho),
        "test_mse": mean_over_runs(METRICS["mse"](predictions, truth, weights)),
    } | measure_ensemble("test_ensemble", predictions, data, data.test)


def runs_frame(variant: Variant, trained: TrainedRuns) -> pd.DataFrame:
    """Training loss and metrics on val of each run and epoch.

    Args:
        variant: Variant of the runs.
        trained: The trained runs.
    Returns:
        A row a run and epoch, columns of `runs.parquet`.
    """
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
    for name in METRICS:
        frame[f"val_{name}"] = trained.metrics[name].ravel()
    return frame


def frame_predictions(data: StudyData, val: np.ndarray) -> pd.DataFrame:
    """Content of a trial's `predictions.parquet`.

    Args:
        data: The study's data.
        val: Predictions of val, (R, V), in the target's units.
    Returns:
        A row a val clip: truth, mean and standard deviation over the runs.
    """
    return pd.DataFrame(
        {
            "clip_id": [data.features.clip_ids[row] for row in data.val],
            "truth": data.scores[data.val],
            "score": val.mean(axis=0),
            "spread": val.std(axis=0, ddof=1) if len(val) > 1 else np.zeros(val.shape[1]),
        }
    )


def _summary(
    variant: Variant, columns: np.ndarray, trained: TrainedRuns, runs: pd.DataFrame
) -> dict[str, float | int | str | None]:
    """The reported epochs' metrics, mean and deviation over all runs, and the best epoch's Spearman."""
    reported = runs[runs["epoch"].to_numpy() == trained.reported_epochs[runs["run"].to_numpy()]]
    by_epoch = runs.groupby("epoch")["val_spearman"].mean(skipna=False).dropna()
    summary: dict[str, float | int | str | None] = {
        "variant": variant.name,
        "tiers": "+".join(variant.tiers),
        "full": variant.full,
        "features": len(columns),
        "parameters": parameter_count(len(columns), variant.training.hidden),
        "runs": len(trained.seeds),
        "status": _status(reported),
    }
    for name in METRICS:
        values = reported[f"val_{name}"].to_numpy()
        summary[name], summary[f"{name}_std"] = mean_over_runs(values), spread_over_runs(values)
    summary["best_epoch"] = int(by_epoch.idxmax()) if len(by_epoch) else None
    summary["best_spearman"] = float(by_epoch.max()) if len(by_epoch) else None
    return summary


def _status(reported: pd.DataFrame) -> str:
    """`done`, or how many runs have no rank correlation: they diverged, or predict one score for all clips."""
    undefined = int((~np.isfinite(reported["val_spearman"])).sum())
    return "done" if not undefined else f"{undefined} of {len(reported)} runs diverged or are constant"
