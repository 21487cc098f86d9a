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
_FENCE = 3  # quartile ranges beyond the quartiles: Tukey's "far out" (Exploratory Data Analysis, 1977)
_FLATTENED = 1.5  # the whole range in fences: below that nothing is flattened, and all is drawn
_MARGIN = 0.04  # of the axis, at either end


def plot_forest(
    trials: pd.DataFrame,
    tables: Mapping[int, Sequence[str]],
    own: str | None = None,
    others: Sequence[str] = (),
) -> tuple[Figure, pd.DataFrame]:
    """Plot every variant's difference to its full model as a forest plot.

    Args:
        trials: the study's `trials.parquet`.
        tables: table number to the names of its variants in order.
        own: name of the measure that the full model uses, for Table 4's correction; None where it uses none.
        others: names of rows that are no ablations: they count in their table's correction, and are not drawn.
    Returns:
        The figure, and what it draws: table, variant, full model, difference, its interval (thin), what of it the runs
        alone would give (thick), empty where there is none, the probability after the table's correction, and `beyond`:
        whether part of the row lies beyond the axis, where an arrow and a number stand for it.
    """
    rows = forest_table(trials, tables, own)
    rows = rows[~rows["variant"].isin(others)].reset_index(drop=True)
    heights = np.arange(len(rows))[::-1] - rows["table"].rank(method="dense").to_numpy() * 0.6
    figure, axes = plt.subplots(figsize=(8.4, 0.26 * len(rows) + 1.6))
    axes.axvline(0, color=INK, linewidth=1)
    low, high = find_axis(rows[_INTERVAL].to_numpy(float))
    ends = rows[_INTERVAL]
    rows = rows.assign(beyond=((ends < low) | (ends > high)).any(axis=1))
    for height, (_, row) in zip(heights, rows.iterrows(), strict=True):
        _draw_row(axes, height, row)
        _mark_beyond(axes, height, row, low, high)
    if rows["beyond"].any():
        axes.set_xlim(low, high)
    names = [
        f"{label_text(row.variant)}  (table {row.table}){' *' if has_star(row.corrected_p) else ''}"
        for row in rows.itertuples()
    ]
    axes.set_yticks(heights, names, fontsize=8.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("difference in Spearman's rank correlation to the full model")
    return figure, rows


def find_axis(numbers: np.ndarray) -> tuple[float, float]:
    """Find the ends of an axis that a few far numbers do not flatten the others on.

    The ends are those of the numbers, but at most three quartile ranges beyond the quartiles; unless that would hardly
    shorten the axis.

    Args:
        numbers: all that is to be drawn, any shape; not a number: nothing.
    Returns:
        The ends, with a margin, 0 between them; infinite where all is to be drawn.
    """
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return -math.inf, math.inf
    lower, upper = np.quantile(known, [0.25, 0.75])
    reach = _FENCE * (upper - lower)
    low = min(0.0, max(float(known.min()), lower - reach))
    high = max(0.0, min(float(known.max()), upper + reach))
    whole = max(0.0, float(known.max())) - min(0.0, float(known.min()))
    if reach == 0 or whole <= _FLATTENED * (high - low):
        return -math.inf, math.inf
    margin = _MARGIN * (high - low)
    return low - margin, high + margin


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
    order = {name: tables[number].index(name) for name, number in first.items()}
    rows = rows.assign(table=rows["variant"].map(first), order=rows["variant"].map(order))
    corrected = correct_tables(trials, tables, own)
    intervals = pd.DataFrame(
        [_read_interval(row) for row in rows.to_dict("records")], rows.index, [*_INTERVAL, *_PARTS]
    )
    p = pd.Series([corrected[k][name] for k, name in zip(rows["table"], rows["variant"], strict=True)], rows.index)
    if "status" in rows:  # where runs stopped early the table has no star either
        p = p.where(rows["status"] == "done")
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


def _mark_beyond(axes: Axes, height: float, row: pd.Series, low: float, high: float) -> None:
    """Put an arrow with its numbers at an end of the axis that a difference, or an end of its interval, lies beyond."""
    estimate, numbers = row["delta_spearman"], row[_INTERVAL].to_numpy(float)
    for edge, beyond, end, marker in (
        (low, numbers < low, "delta_low", "<"),
        (high, numbers > high, "delta_high", ">"),
    ):
        if not beyond.any():
            continue
        colour = COLOURS[1] if estimate < 0 else COLOURS[0]
        axes.plot(edge, height, marker, color=colour, markersize=7, clip_on=False)
        is_out = bool(beyond[0])
        text = describe_difference(row) if is_out else f"{row[end]:+.3f}"
        side = "left" if marker == "<" else "right"
        place: dict[str, Any] = {"xytext": (7 if side == "left" else -7, 2.5), "textcoords": "offset points"}
        axes.annotate(text, (edge, height), ha=side, va="bottom", fontsize=7.5, color=INK, **place)


def describe_difference(row: Mapping[Any, Any] | pd.Series) -> str:
    """Text of a difference that is not drawn.

    Args:
        row: row of `forest_table`.
    Returns:
        The difference, and its interval where it has one.
    """
    text = f"{row['delta_spearman']:+.3f}"
    if pd.isna(row["delta_low"]):
        return text
    return f"{text} [{row['delta_low']:+.3f}, {row['delta_high']:+.3f}]"
