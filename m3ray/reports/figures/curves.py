"""Figure 2: validation curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from m3ray.reports.style import COLOURS, LINES, label_text


def plot_validation_curves(runs: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Plot Figure 2: validation Spearman by epoch; mean line, band of one standard deviation, best epoch marked.

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
    for variant, curve in curves.groupby("variant", sort=False):
        index = order.index(str(variant))
        colour = COLOURS[index % len(COLOURS)]
        ends.append((_draw_curve(axes, curve, colour, LINES[index // 4 % len(LINES)]), str(variant), colour))
    _label_ends(axes, ends, float(curves["epoch"].max()))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")


def curve_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over runs of each variant and epoch.

    Args:
        runs: rows of the study's `runs.parquet`.
    Returns:
        `variant, epoch, mean, deviation`, variants in the order of `runs`.
    """
    grouped = runs.groupby(["variant", "epoch"], sort=False)["val_spearman"]
    return grouped.agg(mean="mean", deviation="std").reset_index()


def _draw_curve(axes: Axes, curve: pd.DataFrame, colour: str, line: str) -> float:
    """Draw one variant's curve and return the height of its right end."""
    epoch, mean = curve["epoch"].to_numpy(), curve["mean"].to_numpy()
    axes.plot(epoch, mean, color=colour, linestyle=line, linewidth=1.6)
    if curve["deviation"].notna().any():
        band = curve["deviation"].fillna(0).to_numpy()
        axes.fill_between(epoch, mean - band, mean + band, color=colour, alpha=0.12, linewidth=0)
    if np.isfinite(mean).any():
        best = int(np.nanargmax(mean))
        axes.plot(epoch[best], mean[best], "o", color=colour, markersize=4.5)
    return float(mean[-1])


def _label_ends(axes: Axes, ends: list[tuple[float, str, str]], last: float) -> None:
    """Write names at the right ends of the lines, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    step = (high - low) / 22
    height = -np.inf
    for value, name, colour in sorted(ends):
        height = max(value if np.isfinite(value) else low, height + step)
        axes.annotate(
            label_text(name),
            (last, value),
            xytext=(last * 1.03 + 0.2, height),
            color=colour,
            fontsize=9,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5},
            annotation_clip=False,
        )
