"""Beyond the paper: a forest plot of what each ablation changes, with its intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from m3ray.reports.style import COLOURS, INK, label_text

_COLUMNS = ["table", "variant", "full", "delta_spearman", "delta_low", "delta_high", "boot_low", "boot_high"]


def plot_forest(trials: pd.DataFrame, tables: Mapping[int, Sequence[str]]) -> tuple[Figure, pd.DataFrame]:
    """Plot every variant's paired difference to its full model as a forest plot.

    Args:
        trials: the study's `trials.parquet`.
        tables: table number to the names of its variants in order.
    Returns:
        The figure, and what it draws: table, variant, full model, difference, Student's interval over runs (thick)
        and the bootstrap's over clips (thin), empty where there is none.
    """
    rows = forest_table(trials, tables)
    heights = np.arange(len(rows))[::-1] - rows["table"].rank(method="dense").to_numpy() * 0.6
    figure, axes = plt.subplots(figsize=(8.4, 0.26 * len(rows) + 1.6))
    axes.axvline(0, color=INK, linewidth=1)
    for height, (_, row) in zip(heights, rows.iterrows(), strict=True):
        _draw_row(axes, height, row)
    names = [f"{label_text(row.variant)}  (table {row.table})" for row in rows.itertuples()]
    axes.set_yticks(heights, names, fontsize=8.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("difference in Spearman's rank correlation to the full model")
    return figure, rows


def forest_table(trials: pd.DataFrame, tables: Mapping[int, Sequence[str]]) -> pd.DataFrame:
    """Rows of the variants that have a difference, each under the first table that has it.

    Args:
        trials: the study's `trials.parquet`.
        tables: table number to the names of its variants in order.
    Returns:
        `table`, `variant`, `full`, the difference and its two intervals, in the order of the tables.
    """
    first = {name: number for number in sorted(tables, reverse=True) for name in tables[number]}
    rows = trials[trials["variant"].isin(list(first)) & trials["delta_spearman"].notna()]
    order = {name: k for names in tables.values() for k, name in enumerate(names)}
    rows = rows.assign(table=rows["variant"].map(first), order=rows["variant"].map(order))
    return rows.sort_values(["table", "order"])[_COLUMNS].reset_index(drop=True)


def _draw_row(axes: Axes, height: float, row: pd.Series) -> None:
    worse = row["delta_spearman"] < 0
    colour, marker = (COLOURS[1], "v") if worse else (COLOURS[0], "^")
    if pd.notna(row["boot_low"]):
        axes.plot([row["boot_low"], row["boot_high"]], [height] * 2, color=colour, linewidth=0.9)
    if pd.notna(row["delta_low"]):
        axes.plot([row["delta_low"], row["delta_high"]], [height] * 2, color=colour, linewidth=3, alpha=0.55)
    axes.plot(row["delta_spearman"], height, marker, color=colour, markersize=5.5)
