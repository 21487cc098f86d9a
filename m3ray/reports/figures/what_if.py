"""Beyond the paper: how the model's score changes with each raw feature."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from m3ray.reports.style import COLOURS, SOFT, label_text
from m3ray.study.partial_dependence import ACCUMULATED, PARTIAL

_ACROSS = 5
_LOOKS = {ACCUMULATED: (COLOURS[0], "-"), PARTIAL: (COLOURS[1], "--")}
_UNITS = {
    "brightness": "brightness, 0 to 1",
    "contrast": "contrast, 0 to 1",
    "blurriness": "blurriness, dB",
    "mean_optical_flow": "flow, pixels a frame",
    "size_bytes": "size, bytes",
}
MOST_HOG = 5  # of the ten components those with the widest curves; the data have all
_WIDE = 20.0  # a feature whose numbers span more than that is drawn on a logarithmic axis


def plot_what_if(curves: pd.DataFrame, target: str = "score") -> tuple[Figure, pd.DataFrame]:
    """Plot the curves of features, a panel each, all on one vertical scale.

    Args:
        curves: `feature, kind, value, effect, spread, runs`, a row a number of each curve, at least one.
        target: What is predicted.
    Returns:
        The figure, and what it draws: lines; of the second kind bands of one standard deviation over several runs; and
        short strokes at the numbers that the curves are computed at, each twentieth of the clips.
    """
    names = choose_features(curves)
    down = -(-len(names) // _ACROSS)
    across = min(_ACROSS, len(names))
    size = (2.3 * across + 0.6, 2.1 * down + 0.7)
    figure, grid = plt.subplots(down, across, figsize=size, sharey=True, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        _draw_feature(axes, name, curves[curves["feature"] == name])
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel(f"change of the {label_text(target, 24)}", fontsize=8.5)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    # Fixed margins: to have them measured takes as long as drawing it all once more.
    inch = 1 / figure.get_figheight()
    figure.subplots_adjust(left=0.07, right=0.99, bottom=0.45 * inch, top=1 - 0.4 * inch, wspace=0.12, hspace=0.42)
    figure.legend(handles, labels, loc="upper center", ncols=len(labels), fontsize=9)
    return figure, curves


def choose_features(curves: pd.DataFrame) -> list[str]:
    """Choose the features that are drawn.

    Args:
        curves: As `plot_what_if` takes them.
    Returns:
        Their names, in the order of the curves: all but HOG's, and then those of its components that the model heeds
        most.
    """
    widths = curves.groupby("feature", sort=False)["effect"].agg(np.ptp)
    hog = widths[widths.index.str.startswith("hog_")].nlargest(MOST_HOG).index
    named = [name for name in widths.index if not name.startswith("hog_")]
    return [*named, *(name for name in widths.index if name in hog)]


def _draw_feature(axes: Axes, name: str, rows: pd.DataFrame) -> None:
    axes.axhline(0, color=SOFT, linewidth=1)
    for kind, part in rows.groupby("kind", sort=False):
        colour, line = _LOOKS[str(kind)]
        values, effects, spread = (part[column].to_numpy(float) for column in ("value", "effect", "spread"))
        axes.plot(values, effects, color=colour, linestyle=line, linewidth=1.6, label=str(kind))
        if kind == ACCUMULATED and np.isfinite(spread).all():  # two bands on one another would say no more
            axes.fill_between(values, effects - spread, effects + spread, color=colour, alpha=0.18, linewidth=0)
    values = rows["value"].unique()
    # At the foot of the panel, whatever its scale: the numbers that clips have.
    foot, place = np.full(len(values), 0.02), axes.get_xaxis_transform()
    axes.plot(values, foot, marker="|", linestyle="none", color="black", markersize=5, transform=place)
    axes.set_xlabel(_UNITS.get(name, label_text(name, 24)), fontsize=8.5)
    axes.tick_params(labelsize=7.5)
    if values.min() > 0 and values.max() > _WIDE * values.min():
        axes.set_xscale("log")
    else:
        axes.locator_params(axis="x", nbins=4)
