"""Beyond the paper: the settings that a search tried, as parallel coordinates."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from m3ray.reports.style import COLOURS, INK, SEQUENCE, SOFT, label_text
from m3ray.study.search_space import MODES


def plot_parallel_coordinates(
    trials: pd.DataFrame, settings: Sequence[str], logarithmic: Sequence[str], metric: str = "spearman"
) -> tuple[Figure, pd.DataFrame]:
    """Plot a line a tried setting over an axis a parameter and the metric; the best setting is thick.

    Args:
        trials: a row a setting: a column a parameter, the metric, `complete` (trained to its last epoch) and, but for
            older searches, `admissible` (the objective lets it be the best).
        settings: names of the parameters, in the order of their axes.
        logarithmic: names of the parameters whose axes are logarithmic.
        metric: column that ranks the settings, one of the search's `MODES`.
    Returns:
        The figure, and what it draws: the parameters, the metric, `complete` and `admissible`. Settings that were
        stopped early are thin and grey, those that may not be the best dotted.
    """
    names = [*settings, metric]
    allowed = trials["admissible" if "admissible" in trials else "complete"]
    data = trials[[*names, "complete"]].assign(admissible=allowed).dropna(subset=[metric]).reset_index(drop=True)
    positions = pd.DataFrame({name: _axis_positions(data[name], name in logarithmic) for name in names})
    figure, axes = plt.subplots(figsize=(1.25 * len(names) + 1.2, 4.6))
    complete_trials = data.loc[data["complete"], metric]
    scale = Normalize(complete_trials.min(), complete_trials.max())
    best = _find_best(data, metric)
    for k, row in positions.iterrows():
        complete = bool(data.loc[k, "complete"])
        colour = colormaps[SEQUENCE](scale(data.loc[k, metric])) if complete else SOFT
        style = "-" if data.loc[k, "admissible"] or not complete else ":"
        axes.plot(range(len(names)), row, style, color=colour, linewidth=1.3 if complete else 0.6, alpha=0.85)
    if best is not None:
        axes.plot(range(len(names)), positions.loc[best], color=COLOURS[1], linewidth=3, label="best")
        axes.legend(loc="lower left", bbox_to_anchor=(0, -0.2))
    for position, name in enumerate(names):
        _draw_axis(axes, position, data[name], positions[name])
    axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names], fontsize=8.5)
    axes.xaxis.tick_top()
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    figure.colorbar(ScalarMappable(scale, SEQUENCE), ax=axes, label=f"{metric} on val, last epoch", pad=0.06)
    return figure, data


def _find_best(data: pd.DataFrame, metric: str) -> Hashable | None:
    """Label of the best row of those that may be it; None: there is none."""
    values = data.loc[data["complete"] & data["admissible"], metric]
    if not len(values):
        return None
    return values.idxmin() if MODES[metric] == "min" else values.idxmax()


def _axis_positions(values: pd.Series, logarithmic: bool) -> np.ndarray:
    """Place values on an axis from 0 to 1: numbers by size, words by their order."""
    if not pd.api.types.is_numeric_dtype(values):
        codes = values.astype(str).rank(method="dense").to_numpy(float) - 1
        return codes / max(1.0, codes.max()) if len(codes) else codes
    numbers = np.log(values.to_numpy(float)) if logarithmic else values.to_numpy(float)
    spread = np.ptp(numbers) if len(numbers) else 0.0
    return (numbers - numbers.min()) / spread if spread > 0 else np.full(len(numbers), 0.5)


def _draw_axis(axes: Axes, position: int, values: pd.Series, positions: pd.Series) -> None:
    axes.plot([position] * 2, [0, 1], color=INK, linewidth=0.8)
    numeric = pd.api.types.is_numeric_dtype(values)
    ends = [positions.idxmin(), positions.idxmax()] if numeric and len(positions) else positions.drop_duplicates().index
    for k in dict.fromkeys(ends):
        text = f"{values[k]:.3g}" if numeric else label_text(str(values[k]), 16)
        box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "alpha": 0.75, "linewidth": 0}
        axes.annotate(text, (position, positions[k]), xytext=(3, 0), textcoords="offset points", fontsize=7, bbox=box)
