"""Beyond the paper: scores of clips whose truth nobody knows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from m3ray.reports.style import COLOURS


def plot_scores(scores: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Plot the distribution of scores (left), and each by its rank (right).

    Args:
        scores: a row a clip, with the columns `clip_id` and `score`.
    Returns:
        The figure, and what it draws: `rank, clip_id, score`, rank 1 the most memorable.
    """
    ranked = scores.sort_values("score", ascending=False, kind="stable").reset_index(drop=True)
    ranked.insert(0, "rank", np.arange(1, len(ranked) + 1))
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.4))
    left.hist(ranked["score"], bins=min(30, max(5, len(ranked) // 3)), color=COLOURS[0], alpha=0.75)
    left.set_xlabel("predicted score")
    left.set_ylabel("clips")
    marker = "o" if len(ranked) <= 60 else ""
    right.plot(ranked["rank"], ranked["score"], color=COLOURS[0], marker=marker, markersize=3.5)
    right.set_xlabel("rank (1 = most memorable)")
    right.set_ylabel("predicted score")
    figure.tight_layout()
    return figure, ranked
