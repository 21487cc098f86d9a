"""Figure 7, and calibration beyond the paper: predictions against the truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from m3ray.model.metrics import METRICS
from m3ray.reports.style import COLOURS, INK, POINTS, SOFT

FEWEST_IN_A_BIN = 5


def plot_distributions(
    predictions: pd.DataFrame, ceiling: float | None = None, rho: float | None = None, weighing: str = ""
) -> tuple[Figure, pd.DataFrame]:
    """Plot Figure 7: distributions of truth and prediction (left), and both by rank (right).

    Args:
        predictions: a row a val clip, with the columns `truth` and `score`.
        ceiling: highest rank correlation that a perfect model could have; None: unknown.
        rho: rank correlation as the tables have it, where they weigh clips; None: of these clips, each counted once.
        weighing: how it counts clips, for behind the word `ensemble`.
    Returns:
        The figure, and what it draws: `rank, truth, prediction`, each sorted by itself, rank 1 the most memorable.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.8))
    ranked = draw_distributions(left, right, predictions)
    truth, score = predictions["truth"].to_numpy(), predictions["score"].to_numpy()
    right.set_title(describe_ensemble(truth, score, ceiling, rho, weighing), fontsize=9)
    figure.tight_layout()
    return figure, ranked


def draw_distributions(left: Axes, right: Axes, predictions: pd.DataFrame) -> pd.DataFrame:
    """Draw the two panels of Figure 7.

    Args:
        left: where the distributions go.
        right: where the scores by rank go.
        predictions: a row a val clip, with the columns `truth` and `score`.
    Returns:
        What is drawn: `rank, truth, prediction`.
    """
    truth, score = predictions["truth"].to_numpy(), predictions["score"].to_numpy()
    ranked = pd.DataFrame(
        {"rank": np.arange(1, len(truth) + 1), "truth": np.sort(truth)[::-1], "prediction": np.sort(score)[::-1]}
    )
    bins = np.histogram_bin_edges(np.concatenate([truth, score]), bins=min(30, max(6, len(truth) // 3)))
    for values, name, colour, line in ((truth, "truth", COLOURS[0], "-"), (score, "prediction", COLOURS[1], "--")):
        left.hist(values, bins=list(bins), density=True, alpha=0.45, color=colour, label=name)
        right.plot(ranked["rank"], ranked[name], color=colour, linestyle=line, label=name)
    left.set_xlabel("memorability")
    left.set_ylabel("density")
    right.set_xlabel("rank (1 = most memorable)")
    right.set_ylabel("memorability")
    left.legend()
    right.legend()
    return ranked


def describe_ensemble(
    truth: np.ndarray, score: np.ndarray, ceiling: float | None = None, rho: float | None = None, weighing: str = ""
) -> str:
    """Describe how well predictions rank clips, beside how well any could.

    Args:
        truth: true scores, (N,).
        score: predictions, (N,).
        ceiling: highest rank correlation that a perfect model could have; None: unknown.
        rho: rank correlation as the tables have it; None: of these clips, each counted once.
        weighing: how it counts clips, for behind the word `ensemble`.
    Returns:
        One line.
    """
    rho = float(METRICS["spearman"](score, truth)) if rho is None else rho
    text = f"rho of the runs' mean{weighing} {rho:.3f}" if np.isfinite(rho) else "rho of the runs' mean undefined"
    return f"{text}, ceiling {ceiling:.3f}" if ceiling else f"{text}, ceiling unknown"


def plot_calibration(predictions: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Plot predicted against true scores with the line of least squares; on the diagonal predictions are calibrated.

    Args:
        predictions: a row a val clip, with the columns `truth` and `score`.
    Returns:
        The figure, and what it draws: `truth, prediction` and the line's `calibrated` truth of each prediction.
    """
    truth, score = predictions["truth"].to_numpy(float), predictions["score"].to_numpy(float)
    slope, intercept = np.polyfit(score, truth, 1) if np.ptp(score) > 0 else (0.0, float(truth.mean()))
    data = pd.DataFrame({"truth": truth, "prediction": score, "calibrated": intercept + slope * score})
    figure, axes = plt.subplots(figsize=(5.4, 5.0))
    axes.scatter(score, truth, s=14, color=COLOURS[0], alpha=0.4, **POINTS)
    ends = np.array([min(truth.min(), score.min()), max(truth.max(), score.max())])
    axes.plot(ends, ends, color=SOFT, linewidth=1.2, label="prediction = truth")
    inside = np.array([score.min(), score.max()])
    label = f"least squares: truth = {intercept:.2f} + {slope:.2f} prediction"
    axes.plot(inside, intercept + slope * inside, color=COLOURS[1], linestyle="--", linewidth=1.8, label=label)
    _draw_bins(axes, score, truth)
    axes.set_xlabel("predicted memorability")
    axes.set_ylabel("true memorability")
    axes.legend(loc="upper left", fontsize=8.5)
    return figure, data


def _draw_bins(axes: Axes, score: np.ndarray, truth: np.ndarray) -> None:
    """Draw the mean truth in each tenth of the predictions with its 95 % interval, where there are enough clips."""
    for rows in np.array_split(np.argsort(score, kind="stable"), 10):
        if len(rows) < FEWEST_IN_A_BIN:
            continue
        half = stats.t.ppf(0.975, len(rows) - 1) * truth[rows].std(ddof=1) / np.sqrt(len(rows))
        centre = (score[rows].mean(), truth[rows].mean())
        axes.errorbar(*centre, yerr=half, fmt="o", color=INK, markersize=4.5, linewidth=1.2)
