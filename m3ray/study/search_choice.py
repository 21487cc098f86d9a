"""Which of a search's settings is the best, and what is measured to tell it.

A loss of ranks alone may rank a hair better than all others and predict on no scale that a reader could use, so the
error counts too: that of predictions which a line has put on the scores' scale, as a bundle does.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from m3ray.model.calibrated_error import are_distinct, predict_left_out
from m3ray.study.search_space import MODES
from m3ray.study.statistics import MeasuredRuns, measure_runs

MSE_SLACK = 0.10

OBJECTIVES = {
    "spearman": f"the highest Spearman on val among the settings whose recalibrated MSE is at most {MSE_SLACK:.0%} "
    "above the lowest one's, of those trained to their last epoch",
    "mse": "the lowest recalibrated MSE on val, of the settings trained to their last epoch",
    "balanced": "the highest mean of Spearman and R^2 (1 less recalibrated MSE over variance) on val, of the settings "
    "trained to their last epoch",
}
"""Metric that a search is asked for to what it chooses by, in words."""

COLUMNS = {"spearman": "spearman", "mse": "calibrated_mse", "balanced": "balanced"}
"""Metric that a search is asked for to the column that ranks its table, draws its settings and stops them early."""

REPORTED = ("spearman", "mse", "calibrated_mse", "balanced")

# Tune takes no number that is missing: an impossible one, as bad as can be, stands for it in what an epoch reports.
_WORST = {"spearman": -2.0, "mse": 1e9, "calibrated_mse": 1e9, "balanced": -1e9}


def report_epoch(metrics: Mapping[str, np.ndarray], truth: np.ndarray, weights: np.ndarray | None) -> dict[str, float]:
    """Means over the runs of a setting after an epoch, as Tune takes them.

    Args:
        metrics: `spearman`, `mse` and `calibrated_mse` of each run on val, (R,).
        truth: Scores of val, (V,).
        weights: Weight of each clip, (V,); None: all equal.
    Returns:
        Each of `REPORTED`, and `spearman_std`; finite, impossibly bad where a run's predictions are constant or not
        finite.
    """
    means = {name: float(np.mean(metrics[name])) for name in MODES if name in metrics}
    means["balanced"] = (means["spearman"] + 1 - means["calibrated_mse"] / _variance(truth, weights)) / 2
    rho = metrics["spearman"]
    deviation = float(np.std(rho, ddof=1)) if len(rho) > 1 and np.isfinite(rho).all() else 0.0
    finite = {name: means[name] if np.isfinite(means[name]) else _WORST[name] for name in REPORTED}
    return finite | {"spearman_std": deviation}


def _variance(truth: np.ndarray, weights: np.ndarray | None) -> float:
    mean = np.average(truth, weights=weights)
    return float(np.average((truth - mean) ** 2, weights=weights))


def read_report(epoch: Mapping[str, float]) -> dict[str, float]:
    """Read what an epoch reported.

    Args:
        epoch: What `report_epoch` gave.
    Returns:
        Each of `REPORTED`, not a number where it is undefined or was not reported.
    """
    values = {name: float(epoch.get(name, np.nan)) for name in REPORTED}
    return {name: np.nan if value == _WORST[name] else value for name, value in values.items()}


def rank_settings(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rank the settings that a search tried.

    Args:
        frame: A row a setting: `REPORTED`, and `complete`, whether it was trained to its last epoch.
        metric: One of `OBJECTIVES`.
    Returns:
        The rows, best first, with `admissible`: whether the objective lets a setting be the best. Those that it does
        not stand behind, and those that were stopped early behind them.
    """
    ranked = frame.assign(admissible=_find_admissible(frame, metric))
    column = COLUMNS[metric]
    return ranked.sort_values(
        ["complete", "admissible", column],
        ascending=[False, False, MODES[column] == "min"],
        na_position="last",
        ignore_index=True,
        kind="stable",
    )


def _find_admissible(frame: pd.DataFrame, metric: str) -> pd.Series:
    error = frame["calibrated_mse"]
    defined = frame["complete"].astype(bool) & np.isfinite(frame["spearman"]) & np.isfinite(error)
    if metric != "spearman" or not defined.any():
        return defined
    return defined & (error <= (1 + MSE_SLACK) * error[defined].min())


def measure_objective(
    predictions: np.ndarray, truth: np.ndarray, metric: str, weights: np.ndarray | None = None
) -> MeasuredRuns:
    """Measure what an objective is about on the runs of a setting, for its comparison with others.

    Args:
        predictions: Predictions of its runs, (R, V).
        truth: Scores, (V,).
        metric: One of `OBJECTIVES`.
        weights: Weight of each clip, (V,); None: all equal.
    Returns:
        Spearman, the recalibrated MSE, or the mean of Spearman and R^2 of each run; not a number where a run's
        predictions are constant or not finite.
    """
    predictions = np.where(are_distinct(predictions)[:, None], predictions, np.nan)
    if metric == "spearman":
        return measure_runs(predictions, truth, "spearman", weights)
    error = measure_runs(predict_left_out(predictions, truth, weights), truth, "mse", weights)
    if metric == "mse":
        return error
    return _balance(measure_runs(predictions, truth, "spearman", weights), error, truth, weights)


def _balance(ranking: MeasuredRuns, error: MeasuredRuns, truth: np.ndarray, weights: np.ndarray | None) -> MeasuredRuns:
    """Mean of a rank correlation and of R^2 = 1 - m / v, and the clips' influence on it, to first order."""
    mean = np.full((len(error.values), len(truth)), np.average(truth, weights=weights))
    variance = measure_runs(mean, truth, "mse", weights)
    m, v = error.values[:, None], variance.values[:, None]
    influence = (m / v * variance.influence - error.influence) / v
    return MeasuredRuns(
        (ranking.values + 1 - error.values / variance.values) / 2, (ranking.influence + influence) / 2, ranking.shares
    )
