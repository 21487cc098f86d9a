"""Beyond the paper: how often 90 % intervals hold the true score, by tenth of the prediction."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy import stats

from m3ray.reports.style import COLOURS, SOFT, label_text

_TENTHS = 10
_GOAL = 0.9


def count_by_tenth(scores: np.ndarray, covered: np.ndarray) -> pd.DataFrame:
    """Count the clips whose interval holds their true score, by tenth of the score.

    Args:
        scores: Predicted score of each clip, (n,), n >= 10.
        covered: Whether its interval holds its true score, bool, (n,).
    Returns:
        A row a tenth from the lowest: `tenth`, `mean_score`, `clips`, `covered`, `coverage`, and the ends `low` and
        `high` of its 95 % binomial interval (Wilson 1927).
    """
    rows = []
    for k, part in enumerate(np.array_split(np.argsort(scores, kind="stable"), _TENTHS)):
        clips, inside = len(part), int(covered[part].sum())
        interval = stats.binomtest(inside, clips).proportion_ci(0.95, method="wilson")
        ends = {"low": interval.low, "high": interval.high}
        row = {"tenth": k + 1, "mean_score": scores[part].mean(), "clips": clips, "covered": inside}
        rows.append({**row, "coverage": inside / clips, **ends})
    return pd.DataFrame(rows)


def plot_coverage(tenths: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Plot the coverage of each bundle's intervals by tenth of the prediction.

    Args:
        tenths: Rows of `count_by_tenth`, with the column `bundle`.
    Returns:
        The figure, and what it draws.
    """
    figure, axes = plt.subplots(figsize=(6.4, 3.8))
    axes.axhline(_GOAL, color=SOFT, linewidth=1.2, label="90 %")
    bundles = list(dict.fromkeys(tenths["bundle"]))
    for k, bundle in enumerate(bundles):
        rows = tenths[tenths["bundle"] == bundle]
        aside = 0.12 * (k - (len(bundles) - 1) / 2)
        away = np.abs(rows[["low", "high"]].to_numpy().T - rows["coverage"].to_numpy())
        axes.errorbar(
            rows["tenth"] + aside,
            rows["coverage"],
            yerr=away,
            fmt="o",
            color=COLOURS[k % len(COLOURS)],
            markersize=4.5,
            linewidth=1.2,
            label=label_text(str(bundle), 32),
        )
    axes.set_xticks(range(1, _TENTHS + 1))
    axes.set_xlabel("tenth of the predictions (1 = lowest)")
    axes.set_ylabel("share of true scores inside")
    axes.set_ylim(min(0.5, float(tenths["low"].min())), 1.01)
    axes.legend(loc="lower right", fontsize=8.5)
    return figure, tenths
