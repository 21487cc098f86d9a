"""Beyond the paper: how memorable a clip is from moment to moment."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from m3ray.reports.style import COLOURS, SOFT, plain

_MOST = 6


def over_time(predictions: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The scores of sliding windows, a panel a clip, for the six clips whose scores vary most.

    Args:
        predictions: `clip_id, score, times, curve`; the last two are lists, of the windows' middles and scores.
    Returns:
        The figure, and what it draws: `clip_id, seconds, score`, a row a window.
    """
    known = predictions[predictions["curve"].map(lambda curve: curve is not None and len(curve) > 1)]
    swing = known["curve"].map(lambda curve: float(np.ptp(curve)))
    chosen = known.loc[swing.sort_values(ascending=False, kind="stable").index[:_MOST]]
    columns = min(3, max(1, len(chosen)))
    rows = -(-len(chosen) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.1 * columns, 2.3 * rows), squeeze=False, sharey=True)
    for panel in axes.flat[len(chosen) :]:
        panel.set_axis_off()
    for panel, (_, clip) in zip(axes.flat, chosen.iterrows(), strict=False):
        panel.axhline(clip["score"], color=SOFT, linewidth=1.2)
        panel.plot(clip["times"], clip["curve"], color=COLOURS[0], marker="o", markersize=3)
        panel.set_title(plain(str(clip["clip_id"]), 32), fontsize=8.5)
        panel.set_xlabel("seconds", fontsize=8.5)
    for panel in axes[:, 0]:
        panel.set_ylabel("score", fontsize=8.5)
    figure.tight_layout()
    lists = chosen[["clip_id", "times", "curve"]].explode(["times", "curve"], ignore_index=True)
    return figure, lists.rename(columns={"times": "seconds", "curve": "score"}).astype({"seconds": float})
