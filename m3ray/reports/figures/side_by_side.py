"""Figures 2, 6 and 7 of several data sets beside one another, as the paper has Memento10k and VideoMem.

Each takes the data sets by name, with what is to be drawn, or with a sentence that says why there is nothing.
"""

from __future__ import annotations

import string
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from m3ray.reports.figures.curves import Y_LABEL, curve_table, draw_curves
from m3ray.reports.figures.pairs import CELL, draw_pairs
from m3ray.reports.figures.predictions import draw_distributions
from m3ray.reports.style import INK, label_text

T = TypeVar("T")

_FEATURES = 6  # of Figure 6: five features and the score


@dataclass(frozen=True)
class Distributions:
    """A data set's part of Figure 7.

    Args:
        predictions: a row a val clip, with the columns `truth` and `score`.
        agreement: how well they agree, for above the panel of ranks.
    """

    predictions: pd.DataFrame
    agreement: str


def plot_curves_beside(panels: Mapping[str, pd.DataFrame | str]) -> tuple[Figure, pd.DataFrame]:
    """Plot Figure 2: the validation curves of each data set, a panel each; a variant has one colour in all of them.

    Args:
        panels: name of each data set to rows of its `runs.parquet`, or to why there are none.
    Returns:
        The figure, and what it draws: `dataset, variant, epoch, mean, deviation`.
    """
    figure = plt.figure(figsize=(8.4 * len(panels), 4.8), layout="constrained")
    curves = {name: curve_table(runs) for name, runs in _drawn(panels).items()}
    order = list(dict.fromkeys(variant for table in curves.values() for variant in table["variant"]))
    for name, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        axes.set_title(label_text(name, most=60))
        if name in curves:
            draw_curves(axes, curves[name], order)
            axes.set_ylabel(Y_LABEL)
        else:
            _write_reason(axes, str(panels[name]))
    return figure, _join(curves)


def plot_pairs_beside(panels: Mapping[str, pd.DataFrame | str]) -> tuple[Figure, pd.DataFrame]:
    """Plot Figure 6: the grid of raw features and score of each data set.

    Args:
        panels: name of each data set to a column a feature and `score`, a row a clip, or to why there are none.
    Returns:
        The figure, and what its cells say: `dataset, x, y, n, r, p`.
    """
    drawn = _drawn(panels)
    size = CELL * max([len(features.columns) for features in drawn.values()], default=_FEATURES)
    figure = plt.figure(figsize=(size * len(panels), size), layout="constrained")
    tables = {}
    for name, part in zip(panels, _cut(figure, 1, len(panels)), strict=True):
        part.suptitle(label_text(name, most=60))
        if name in drawn:
            tables[name] = draw_pairs(part, drawn[name])
        else:
            _write_reason(part.subplots(), str(panels[name]))
    return figure, _join(tables)


def plot_distributions_beside(panels: Mapping[str, Distributions | str]) -> tuple[Figure, pd.DataFrame]:
    """Plot Figure 7: a row a data set, (a), (b) and so on, on shared scales of memorability.

    Args:
        panels: name of each data set to its predictions, or to why there are none.
    Returns:
        The figure, and what it draws: `dataset, rank, truth, prediction`.
    """
    figure = plt.figure(figsize=(9.2, 3.8 * len(panels)), layout="constrained")
    drawn, tables, lefts, rights = _drawn(panels), {}, [], []
    for letter, name, part in zip(string.ascii_letters, panels, _cut(figure, len(panels), 1), strict=False):
        part.suptitle(f"({letter}) {label_text(name, most=60)}")
        if name not in drawn:
            _write_reason(part.subplots(), str(panels[name]))
            continue
        left, right = part.subplots(1, 2)
        tables[name] = draw_distributions(left, right, drawn[name].predictions)
        right.set_title(drawn[name].agreement, fontsize=9)
        lefts.append(left)
        rights.append(right)
    _share_limits(lefts, rights)
    return figure, _join(tables)


def _drawn(panels: Mapping[str, T | str]) -> dict[str, T]:
    return {name: content for name, content in panels.items() if not isinstance(content, str)}


def _cut(figure: Figure, rows: int, columns: int) -> list[SubFigure]:
    return list(figure.subfigures(rows, columns, squeeze=False).ravel())


def _write_reason(axes: Axes, reason: str) -> None:
    """Leave a panel empty but for why it is."""
    axes.set_axis_off()
    lines = "\n".join(textwrap.wrap(label_text(reason, most=400), 60))
    axes.text(0.5, 0.5, lines, ha="center", va="center", color=INK, transform=axes.transAxes)


def _share_limits(lefts: list[Axes], rights: list[Axes]) -> None:
    """Give memorability the same scale in every row, so that rows can be compared by eye."""
    low = min([axes.get_xlim()[0] for axes in lefts] + [axes.get_ylim()[0] for axes in rights], default=0.0)
    high = max([axes.get_xlim()[1] for axes in lefts] + [axes.get_ylim()[1] for axes in rights], default=1.0)
    for left, right in zip(lefts, rights, strict=True):
        left.set_xlim(low, high)
        right.set_ylim(low, high)


def _join(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The tables of all data sets below one another, with a column for the name."""
    parts = [table.assign(dataset=name) for name, table in tables.items()]
    if not parts:
        return pd.DataFrame({"dataset": []})
    whole = pd.concat(parts, ignore_index=True)
    return whole[["dataset", *whole.columns.drop("dataset")]]
