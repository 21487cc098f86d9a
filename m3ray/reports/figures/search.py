"""Beyond the paper: the settings that a search tried."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from m3ray.reports.style import COLOURS, INK, SEQUENCE, SOFT, plain


def parallel_coordinates(
    trials: pd.DataFrame, settings: Sequence[str], logarithmic: Sequence[str], metric: str = "spearman"
) -> tuple[Figure, pd.DataFrame]:
    """A line a tried setting, an axis a parameter and the metric; the best one thick.

    Args:
        trials: a column a parameter, `metric`, `complete` (trained to its last epoch).
        settings: the parameters, in order.
        logarithmic: those of them on a logarithmic axis.
        metric: what the search was for.
    Returns:
        The figure, and what it draws: the parameters, the metric, and `complete`. Settings that were stopped early are
        thin and grey.
    """
    shown = [*settings, metric]
    drawn = trials[[*shown, "complete"]].dropna(subset=[metric]).reset_index(drop=True)
    places = pd.DataFrame({name: _places(drawn[name], name in logarithmic) for name in shown})
    figure, axes = plt.subplots(figsize=(1.25 * len(shown) + 1.2, 4.6))
    whole = drawn.loc[drawn["complete"], metric]
    scale = Normalize(whole.min(), whole.max())
    best = (whole.idxmin() if metric == "mse" else whole.idxmax()) if len(whole) else None
    for k, row in places.iterrows():
        complete = bool(drawn.loc[k, "complete"])  # type: ignore[index]
        colour = colormaps[SEQUENCE](scale(drawn.loc[k, metric])) if complete else SOFT  # type: ignore[index]
        axes.plot(range(len(shown)), row, color=colour, linewidth=1.3 if complete else 0.6, alpha=0.85)
    if best is not None:
        axes.plot(range(len(shown)), places.loc[best], color=COLOURS[1], linewidth=3, label="best")
        axes.legend(loc="lower left", bbox_to_anchor=(0, -0.2))
    for position, name in enumerate(shown):
        _draw_axis(axes, position, drawn[name], places[name])
    axes.set_xticks(range(len(shown)), [name.replace("_", "\n") for name in shown], fontsize=8.5)
    axes.xaxis.tick_top()
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    figure.colorbar(ScalarMappable(scale, SEQUENCE), ax=axes, label=f"{metric} on val, last epoch", pad=0.06)
    return figure, drawn


def _places(values: pd.Series, logarithmic: bool) -> np.ndarray:
    """Where values stand on an axis from 0 to 1: numbers by size, words by their order."""
    if not pd.api.types.is_numeric_dtype(values):
        codes = values.astype(str).rank(method="dense").to_numpy(float) - 1
        return codes / max(1.0, codes.max()) if len(codes) else codes
    numbers = np.log(values.to_numpy(float)) if logarithmic else values.to_numpy(float)
    spread = np.ptp(numbers) if len(numbers) else 0.0
    return (numbers - numbers.min()) / spread if spread > 0 else np.full(len(numbers), 0.5)


def _draw_axis(axes: Axes, position: int, values: pd.Series, places: pd.Series) -> None:
    axes.plot([position] * 2, [0, 1], color=INK, linewidth=0.8)
    numeric = pd.api.types.is_numeric_dtype(values)
    ends = [places.idxmin(), places.idxmax()] if numeric and len(places) else places.drop_duplicates().index
    for k in dict.fromkeys(ends):
        text = f"{values[k]:.3g}" if numeric else plain(str(values[k]), 16)
        box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "alpha": 0.75, "linewidth": 0}
        axes.annotate(text, (position, places[k]), xytext=(3, 0), textcoords="offset points", fontsize=7, bbox=box)
