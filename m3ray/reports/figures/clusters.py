"""Figures 3 to 5: the clusters that DBSCAN finds in the t-SNE plane, how memorable they are, and what they show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cbook import boxplot_stats
from matplotlib.figure import Figure

from m3ray.reports.style import COLOURS, INK, MARKERS, POINTS, plain

NOISE = -1
LARGEST = 15
_LABELS = 6


def largest_clusters(clusters: pd.Series, count: int = LARGEST) -> list[int]:
    """The clusters with most clips, the larger first; -1, the clips in no cluster, counts as in the paper."""
    sizes = clusters.value_counts()
    return [int(k) for k in sorted(sizes.index, key=lambda k: (-sizes[k], k))[:count]]


def cluster_planes(points: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Figure 3: the t-SNE plane of each vector tier (rows), all clusters (left) and the largest 15 (right).

    Args:
        points: `tier, clip_id, x, y, cluster`, a row a train clip and tier.
    Returns:
        The figure, and what it draws: the clips that are in a cluster, `largest` true in the right column.
    """
    drawn = points[points["cluster"] != NOISE].assign(largest=False)
    tiers = list(dict.fromkeys(points["tier"]))
    figure, axes = plt.subplots(len(tiers), 2, figsize=(9.2, 4.2 * len(tiers)), squeeze=False)
    for row, tier in enumerate(tiers):
        rows = drawn[drawn["tier"] == tier]
        kept = largest_clusters(rows["cluster"])
        drawn.loc[rows.index, "largest"] = rows["cluster"].isin(kept)
        every = sorted(rows["cluster"].unique())
        _draw_plane(axes[row, 0], rows, every, f"{tier}: all clusters ({len(every)})", named=False)
        right = rows[rows["cluster"].isin(kept)]
        _draw_plane(axes[row, 1], right, kept, f"{tier}: the largest ({len(kept)})", named=True)
    figure.tight_layout()
    return figure, drawn.reset_index(drop=True)


def _draw_plane(axes: Axes, rows: pd.DataFrame, clusters: Sequence[int], title: str, *, named: bool) -> None:
    for k, cluster in enumerate(clusters):
        points = rows[rows["cluster"] == cluster]
        colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k // len(COLOURS) % len(MARKERS)]
        axes.scatter(points["x"], points["y"], s=10, color=colour, marker=marker, alpha=0.75, **POINTS)
        if named:
            box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": colour, "linewidth": 0.8}
            centre = (points["x"].median(), points["y"].median())
            place: dict[str, Any] = {"fontsize": 8, "ha": "center", "va": "center", "bbox": box}
            axes.annotate(str(cluster), centre, xytext=(9, 7), textcoords="offset points", **place)
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", "datalim")


def cluster_boxes(clips: pd.DataFrame, overall: float) -> tuple[Figure, pd.DataFrame]:
    """Figure 4: scores of the 15 largest clusters, sorted by falling median.

    Args:
        clips: `cluster, score`, a row a scored train clip; -1 for those in no cluster, shown as in the paper.
        overall: mean score of the data set.
    Returns:
        The figure, and what it draws: `cluster, n, low, q1, median, q3, high, mean, outliers` a box (low to high are
        the whiskers, 1.5 quartile ranges at most), `overall` and `mean_of_largest` in every row.
    """
    kept = clips[clips["cluster"].isin(largest_clusters(clips["cluster"]))]
    drawn = box_table(kept).assign(overall=overall, mean_of_largest=float(kept["score"].mean()))
    figure, axes = plt.subplots(figsize=(9.2, 4.6))
    axes.bxp(
        [_box(row, kept) for row in drawn.to_dict("records")],
        showmeans=True,
        widths=0.6,
        boxprops={"color": INK},
        medianprops={"color": COLOURS[0], "linewidth": 1.8},
        meanprops={"marker": "^", "markerfacecolor": COLOURS[4], "markeredgecolor": INK, "markersize": 5},
        flierprops={"marker": "o", "markersize": 2.5, "markeredgecolor": INK, "alpha": 0.5},
    )
    axes.axhline(overall, color="#C00000", linewidth=1.4, label=f"mean of the data set: {overall:.3f}")
    mean = float(drawn["mean_of_largest"].iloc[0])
    label = f"mean of these {len(drawn)} clusters: {mean:.3f}"
    axes.axhline(mean, color="#007040", linestyle="--", linewidth=1.4, label=label)
    axes.set_xlabel("cluster (clips); -1: in no cluster")
    axes.set_ylabel("memorability")
    axes.tick_params(axis="x", labelsize=8)
    axes.legend(loc="lower left", fontsize=8.5)
    return figure, drawn


def box_table(clips: pd.DataFrame) -> pd.DataFrame:
    """A row a cluster, by falling median: what its box shows."""
    rows = []
    for cluster, scores in clips.groupby("cluster")["score"]:
        (box,) = boxplot_stats(scores.to_numpy(float))
        shown = {"n": len(scores), "low": box["whislo"], "q1": box["q1"], "median": box["med"], "q3": box["q3"]}
        ends = {"high": box["whishi"], "mean": box["mean"], "outliers": len(box["fliers"])}
        rows.append({"cluster": cluster, **shown, **ends})
    return pd.DataFrame(rows).sort_values(["median", "cluster"], ascending=[False, True], ignore_index=True)


def _box(row: dict[str, float], clips: pd.DataFrame) -> dict[str, object]:
    """What matplotlib draws of a row of `box_table`."""
    scores = clips.loc[clips["cluster"] == row["cluster"], "score"]
    outside = scores[(scores < row["low"]) | (scores > row["high"])]
    names = {"low": "whislo", "q1": "q1", "median": "med", "q3": "q3", "high": "whishi", "mean": "mean"}
    shown = {theirs: row[ours] for ours, theirs in names.items()}
    return {**shown, "fliers": outside.to_numpy(), "label": f"{row['cluster']:.0f}\nn={row['n']:.0f}"}


@dataclass(frozen=True)
class Contents:
    """What a cluster holds.

    Args:
        cluster: its id.
        mean: of its scores.
        labels: those of its clips, a list a clip.
        frames: of some of its clips, RGB uint8 (H, W, 3).
    """

    cluster: int
    mean: float
    labels: Sequence[Sequence[str]]
    frames: Sequence[np.ndarray]


def cluster_contents(clusters: Sequence[Contents]) -> tuple[Figure, pd.DataFrame]:
    """Figure 5: label distribution (left) and sample frames (right) of a memorable and of a forgettable cluster.

    Args:
        clusters: a row each.
    Returns:
        The figure, and what it draws: `cluster, label, clips, share` (a clip may bear several labels).
    """
    tables = [label_table(contents) for contents in clusters]
    figure = plt.figure(figsize=(9.2, 2.9 * len(clusters)))
    grid = figure.add_gridspec(len(clusters), 2, width_ratios=[1, 1.6], wspace=0.08, hspace=0.45)
    for row, (contents, table) in enumerate(zip(clusters, tables, strict=True)):
        axes = figure.add_subplot(grid[row, 0])
        axes.barh([plain(name, 22) for name in table["label"]][::-1], table["share"][::-1], color=COLOURS[row])
        axes.set_title(f"cluster {contents.cluster}, average memorability {contents.mean:.2f}", fontsize=10, loc="left")
        axes.set_xlabel("share of its clips")
        axes.grid(axis="y", visible=False)
        _draw_frames(figure, grid[row, 1], contents.frames)
    return figure, pd.concat(tables, ignore_index=True)


def label_table(contents: Contents) -> pd.DataFrame:
    """Its commonest labels and `other`: the clips that bear none of them."""
    counts = pd.Series([label for labels in contents.labels for label in set(labels)], dtype=object).value_counts()
    top = sorted(counts.index, key=lambda name: (-counts[name], name))[:_LABELS]
    rows = [(label, int(counts[label])) for label in top]
    others = sum(not set(labels) & set(top) for labels in contents.labels)
    frame = pd.DataFrame([*rows, ("other", others)] if others else rows, columns=["label", "clips"])
    return frame.assign(cluster=contents.cluster, share=frame["clips"] / max(1, len(contents.labels)))


def _draw_frames(figure: Figure, place: object, frames: Sequence[np.ndarray]) -> None:
    columns = 3
    cells = place.subgridspec(2, columns, wspace=0.04, hspace=0.06)  # type: ignore[attr-defined]
    for k, frame in enumerate(frames[: 2 * columns]):
        axes = figure.add_subplot(cells[k // columns, k % columns])
        axes.imshow(frame)
        axes.set_axis_off()
