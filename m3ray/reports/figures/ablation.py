"""Beyond the paper: a forest plot of what each ablation changes, with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from m3ray.reports.style import COLOURS, INK, label_text
from m3ray.reports.tables.corrections import CORRECTED, correct_tables, has_star
from m3ray.study.differences import read_difference

_INTERVAL = ["delta_spearman", "delta_low", "delta_high"]
_PARTS = ["runs_low", "runs_high"]
_COLUMNS = ["table", "variant", "full", *_INTERVAL, *_PARTS, CORRECTED]


def plot_forest(
    trials: pd.DataFrame, tables: Mapping[int, Sequence[str]], own: str | None = None
) -> tuple[Figure, pd.DataFrame]:
    """Plot every variant's difference to its full model as a forest plot.

    Args:
        trials: the study's `trials.parquet`.
        tables: table number to the names of its variants in order.
        own: name of the measure that the full model uses, for Table 4's correction; None where it uses none.
    Returns:
        The figure, and what it draws: table, variant, full model, difference, its interval (thin), what of it the runs
        alone would give (thick), empty where there is none, and the probability after the table's correction.
    """
    rows = forest_table(trials, tables, own)
    heights = np.arange(len(rows))[::-1] - rows["table"].rank(method="dense").to_numpy() * 0.6
    figure, axes = plt.subplots(figsize=(8.4, 0.26 * len(rows) + 1.6))
    axes.axvline(0, color=INK, linewidth=1)
    for height, (_, row) in zip(heights, rows.iterrows(), strict=True):
        _draw_row(axes, height, row)
    names = [
        f"{label_text(row.variant)}  (table {row.table}){' *' if has_star(row.corrected_p) else ''}"
        for row in rows.itertuples()
    ]
    axes.set_yticks(heights, names, fontsize=8.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("difference in Spearman's rank correlation to the full model")
    return figure, rows


def forest_table(trials: pd.DataFrame, tables: Mapping[int, Sequence[str]], own: str | None = None) -> pd.DataFrame:
    """Rows of the variants that have a difference, each under the first table that has it.

    Args:
        trials: the study's `trials.parquet`.
        tables: table number to the names of its variants in order.
        own: name of the measure that the full model uses; None where it uses none.
    Returns:
        `table`, `variant`, `full`, the difference, its interval and the runs' part of it, and the probability after
        that table's correction, in the order of the tables.
    """
    first = {name: number for number in sorted(tables, reverse=True) for name in tables[number]}
    rows = trials[trials["variant"].isin(list(first)) & trials["delta_spearman"].notna()]
    order = {name: k for names in tables.values() for k, name in enumerate(names)}
    rows = rows.assign(table=rows["variant"].map(first), order=rows["variant"].map(order))
    corrected = correct_tables(trials, tables, own)
    intervals = pd.DataFrame(
        [_read_interval(row) for row in rows.to_dict("records")], rows.index, [*_INTERVAL, *_PARTS]
    )
    p = [corrected[number][name] for number, name in zip(rows["table"], rows["variant"], strict=True)]
    rows = rows.assign(**intervals, **{CORRECTED: p})
    return rows.sort_values(["table", "order"])[_COLUMNS].reset_index(drop=True)


def _read_interval(row: Mapping[Any, Any]) -> list[float]:
    """A difference, its interval, and the interval that the part of its variance from the runs would give."""
    difference = read_difference(row)
    known = (difference.estimate, difference.low, difference.high, difference.seed_variance, difference.clip_variance)
    estimate, low, high, seeds, clips = (math.nan if value is None else value for value in known)
    # Half of the interval is t standard errors: of these, the runs have the root of their share.
    margin = (high - low) / 2 * math.sqrt(seeds / (seeds + clips)) if seeds + clips > 0 else math.nan
    return [estimate, low, high, estimate - margin, estimate + margin]


def _draw_row(axes: Axes, height: float, row: pd.Series) -> None:
    worse = row["delta_spearman"] < 0
    colour, marker = (COLOURS[1], "v") if worse else (COLOURS[0], "^")
    if pd.notna(row["delta_low"]):
        axes.plot([row["delta_low"], row["delta_high"]], [height] * 2, color=colour, linewidth=0.9)
    if pd.notna(row["runs_low"]):
        axes.plot([row["runs_low"], row["runs_high"]], [height] * 2, color=colour, linewidth=3, alpha=0.55)
    axes.plot(row["delta_spearman"], height, marker, color=colour, markersize=5.5)
