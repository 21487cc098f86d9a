"""Figure 2: validation curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.optimize import isotonic_regression

from m3ray.reports.style import COLOURS, INK, LINES, label_text
from m3ray.study.regressor_results import NO_EPOCH


def plot_validation_curves(runs: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Plot Figure 2: validation Spearman by epoch; mean line, band of one standard deviation, best epoch marked.

    What was not trained here has no epochs: a level line.

    Args:
        runs: rows of the study's `runs.parquet`, variants in the order in which they are drawn.
    Returns:
        The figure, and what it draws: `variant, epoch, mean, deviation` (deviation empty for a single run).
    """
    curves = curve_table(runs)
    figure, axes = plt.subplots(figsize=(8.4, 4.8))
    draw_curves(axes, curves, list(curves["variant"].unique()))
    axes.set_ylabel(Y_LABEL)
    return figure, curves


Y_LABEL = "Spearman's rank correlation on val"


def draw_curves(axes: Axes, curves: pd.DataFrame, order: Sequence[str]) -> None:
    """Draw the curves of some variants.

    Args:
        axes: where they go.
        curves: what `curve_table` returns.
        order: names of these variants, perhaps among others; a variant's place decides its colour and its dashes.
    """
    ends: list[tuple[float, str, str]] = []
    is_level, last = curves["epoch"] == NO_EPOCH, max(1.0, float(curves["epoch"].max()))
    for variant, level in curves[is_level & np.isfinite(curves["mean"])].groupby("variant", sort=False)["mean"]:
        ends.append((_draw_level(axes, float(level.iloc[0]), last), str(variant), INK))
    for variant, curve in curves[~is_level].groupby("variant", sort=False):
        index = order.index(str(variant))
        colour = COLOURS[index % len(COLOURS)]
        ends.append((_draw_curve(axes, curve, colour, LINES[index // 4 % len(LINES)]), str(variant), colour))
    _label_ends(axes, ends, last)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")


def curve_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over runs of each variant and epoch.

    Args:
        runs: rows of the study's `runs.parquet`.
    Returns:
        `variant, epoch, mean, deviation`, variants in the order of `runs`; the epoch of what was not trained here is
        `NO_EPOCH`, and it has no deviation, as it is one model.
    """
    grouped = runs.groupby(["variant", "epoch"], sort=False)["val_spearman"]
    table = grouped.agg(mean="mean", deviation="std").reset_index()
    return table.assign(deviation=table["deviation"].where(table["epoch"] != NO_EPOCH))


def _draw_level(axes: Axes, height: float, last: float) -> float:
    """Draw the level line of what has no epochs, and return its height."""
    axes.plot([1, last], [height, height], color=INK, linestyle=(0, (1, 2)), linewidth=1.4)
    return height


def _draw_curve(axes: Axes, curve: pd.DataFrame, colour: str, line: str) -> float:
    """Draw one variant's curve and return the height of its right end."""
    epoch, mean = curve["epoch"].to_numpy(), curve["mean"].to_numpy()
    axes.plot(epoch, mean, color=colour, linestyle=line, linewidth=1.6)
    if curve["deviation"].notna().any():
        band = curve["deviation"].fillna(0).to_numpy()
        # With few val clips a band of one deviation reaches beyond what a correlation can be.
        axes.fill_between(
            epoch, np.maximum(mean - band, -1), np.minimum(mean + band, 1), color=colour, alpha=0.12, linewidth=0
        )
    if np.isfinite(mean).any():
        best = int(np.nanargmax(mean))
        axes.plot(epoch[best], mean[best], "o", color=colour, markersize=4.5)
    return float(mean[-1])


def _label_ends(axes: Axes, ends: list[tuple[float, str, str]], last: float) -> None:
    """Write names at the right ends of the lines, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    found = sorted((value if np.isfinite(value) else low, name, colour) for value, name, colour in ends)
    heights = _spread_heights([value for value, _, _ in found], low, high)
    for (value, name, colour), height in zip(found, heights, strict=True):
        axes.annotate(
            label_text(name),
            (last, value),
            xytext=(last * 1.03 + 0.2, height),
            color=colour,
            fontsize=9,
            va="center",
            # From the middle of the label's left edge: from its centre, as is usual, lines cross other labels.
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "relpos": (0, 0.5), "shrinkB": 0},
            annotation_clip=False,
        )


def _spread_heights(values: Sequence[float], low: float, high: float) -> np.ndarray:
    """Move heights apart by a label each, up and down, as little as the sum of squares can be; values ascend."""
    if not values:
        return np.empty(0)
    offsets = np.arange(len(values)) * (high - low) / _MOST_LABELS
    # Heights less their offsets need not be further apart than 0, that is, only ascend.
    apart = isotonic_regression(np.asarray(values) - offsets).x
    return np.clip(apart, low, max(low, high - offsets[-1])) + offsets


_MOST_LABELS = 22  # that stand above one another beside the axes
