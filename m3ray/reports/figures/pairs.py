"""Figure 6: the raw features and the score, each against every other."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from scipy import stats

from m3ray.reports.style import COLOURS, INK, POINTS, SEQUENCE, label_text

CELL = 1.75
"""Width and height of a cell, inches."""
_MOST_POINTS = 3_000


def plot_pairs(features: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Plot Figure 6: scatter plots below, distributions on the diagonal, densities above, Pearson's r and p in each.

    Args:
        features: a column a feature and `score`, a row a clip.
    Returns:
        The figure, and what its cells say: `x, y, n, r, p`. r is of all clips; of more than 3,000 a sample is drawn.
    """
    figure = plt.figure(figsize=(CELL * len(features.columns),) * 2)
    table = draw_pairs(figure, features)
    figure.align_ylabels()
    figure.tight_layout(pad=0.4)
    return figure, table


def draw_pairs(figure: FigureBase, features: pd.DataFrame) -> pd.DataFrame:
    """Draw the grid of Figure 6.

    Args:
        figure: figure, or part of one, to draw in.
        features: a column a feature and `score`, a row a clip.
    Returns:
        What its cells say: `x, y, n, r, p`.
    """
    names = list(features.columns)
    table = correlations(features)
    cells = {(row.x, row.y): row for row in table.itertuples()}
    sample = features if len(features) <= _MOST_POINTS else features.sample(_MOST_POINTS, random_state=0)
    axes = figure.subplots(len(names), len(names), squeeze=False)
    for row, column in itertools.product(range(len(names)), repeat=2):
        cell, x, y = axes[row, column], names[column], names[row]
        if row == column:
            _draw_distribution(cell, features[x].to_numpy(float))
        else:
            (_draw_points if row > column else _draw_density)(cell, sample[x].to_numpy(), sample[y].to_numpy())
            _write_correlation(cell, cells[min((x, y), (y, x), key=lambda pair: names.index(pair[0]))])
        _label_axes(cell, x if row == len(names) - 1 else "", y if column == 0 else "")
    return table


def correlations(features: pd.DataFrame) -> pd.DataFrame:
    """Pearson's r and p of each pair of columns.

    Args:
        features: a column a feature, a row a clip.
    Returns:
        `x, y, n, r, p`, a row a pair; r and p are empty where a column is constant.
    """
    rows = []
    for x, y in itertools.combinations(features.columns, 2):
        r = p = np.nan
        if len(features) > 2 and np.ptp(features[x]) > 0 and np.ptp(features[y]) > 0:
            r, p = stats.pearsonr(features[x].to_numpy(float), features[y].to_numpy(float))
        rows.append({"x": x, "y": y, "n": len(features), "r": float(r), "p": float(p)})
    return pd.DataFrame(rows)


def _draw_points(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    axes.scatter(x, y, s=5, color=COLOURS[0], alpha=0.35, **POINTS)


def _draw_density(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    cells = int(np.clip(np.sqrt(len(x)) / 2, 4, 20))
    axes.hexbin(x, y, gridsize=cells, mincnt=1, cmap=SEQUENCE, linewidths=0, rasterized=True)


def _draw_distribution(axes: Axes, values: np.ndarray) -> None:
    """Draw a kernel density, or a line where all values are equal."""
    if np.ptp(values) == 0:
        axes.axvline(values[0], color=COLOURS[1])
        return
    grid = np.linspace(values.min(), values.max(), 120)
    axes.fill_between(grid, stats.gaussian_kde(values)(grid), color=COLOURS[1], alpha=0.4, linewidth=0)


def _write_correlation(axes: Axes, row: object) -> None:
    r, p = row.r, row.p  # type: ignore[attr-defined]
    text = "constant" if np.isnan(r) else f"r = {round(r, 2) + 0:.2f}\np {'< 0.001' if p < 0.001 else f'= {p:.3f}'}"
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.8, "linewidth": 0}
    axes.annotate(text, (0.04, 0.96), xycoords="axes fraction", fontsize=7.5, va="top", color=INK, bbox=box)


def _label_axes(axes: Axes, below: str, left: str) -> None:
    axes.set_xlabel(label_text(below.replace("_", " ")), fontsize=8.5)
    axes.set_ylabel(label_text(left.replace("_", " ")), fontsize=8.5)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
