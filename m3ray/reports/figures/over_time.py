"""Beyond the paper: how memorable a clip is over time, by sliding windows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from m3ray.reports.style import COLOURS, SOFT, label_text

_PANELS = 6


def plot_over_time(predictions: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Plot the scores of sliding windows, a panel a clip, for the six clips whose scores vary most.

    Args:
        predictions: a row a clip, with the columns `clip_id, score` and the lists `times` (middles of the windows,
            seconds) and `curve` (scores of the windows).
    Returns:
        The figure, and what it draws: `clip_id, seconds, score`, a row a window.
    """
    curves = predictions[predictions["curve"].map(lambda curve: curve is not None and len(curve) > 1)]
    swing = curves["curve"].map(lambda curve: float(np.ptp(curve)))
    clips = curves.loc[swing.sort_values(ascending=False, kind="stable").index[:_PANELS]]
    columns = min(3, max(1, len(clips)))
    rows = max(1, -(-len(clips) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(3.1 * columns, 2.3 * rows), squeeze=False, sharey=True)
    for panel in axes.flat[len(clips) :]:
        panel.set_axis_off()
    for panel, (_, clip) in zip(axes.flat, clips.iterrows(), strict=False):
        panel.axhline(clip["score"], color=SOFT, linewidth=1.2)
        panel.plot(clip["times"], clip["curve"], color=COLOURS[0], marker="o", markersize=3)
        panel.set_title(label_text(str(clip["clip_id"]), 32), fontsize=8.5)
        panel.set_xlabel("seconds", fontsize=8.5)
    for panel in axes[:, 0]:
        panel.set_ylabel("score", fontsize=8.5)
    figure.tight_layout()
    lists = clips[["clip_id", "times", "curve"]].explode(["times", "curve"], ignore_index=True)
    return figure, lists.rename(columns={"times": "seconds", "curve": "score"}).astype({"seconds": float})
