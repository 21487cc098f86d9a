"""Figures 3 to 5: DBSCAN's clusters in the t-SNE plane, how memorable they are, and what they show."""

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

from m3ray.reports.style import COLOURS, INK, MARKERS, POINTS, label_text

NOISE = -1
LARGEST = 15
_LABELS = 6


def largest_clusters(clusters: pd.Series, count: int = LARGEST) -> list[int]:
    """Ids of the clusters with most clips; -1, the clips in no cluster, counts as one, as in the paper.

    Args:
        clusters: cluster id of each clip.
        count: how many ids to return at most.
    Returns:
        The ids, the larger cluster first, clusters of equal size by id.
    """
    sizes = clusters.value_counts()
    return [int(k) for k in sorted(sizes.index, key=lambda k: (-sizes[k], k))[:count]]


def plot_cluster_planes(points: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Plot Figure 3: the t-SNE plane of each vector tier (rows), all clusters (left) and the largest 15 (right).

    Args:
        points: a row a train clip and tier, with the columns `tier, clip_id, x, y, cluster`.
    Returns:
        The figure, and what it draws: the clips that are in a cluster, `largest` true in the right column.
    """
    data = points[points["cluster"] != NOISE].assign(largest=False)
    tiers = list(dict.fromkeys(points["tier"]))
    figure, axes = plt.subplots(len(tiers), 2, figsize=(9.2, 4.2 * len(tiers)), squeeze=False)
    for row, tier in enumerate(tiers):
        rows = data[data["tier"] == tier]
        largest = largest_clusters(rows["cluster"])
        data.loc[rows.index, "largest"] = rows["cluster"].isin(largest)
        clusters = sorted(rows["cluster"].unique())
        _draw_plane(axes[row, 0], rows, clusters, f"{tier}: all clusters ({len(clusters)})", show_ids=False)
        right = rows[rows["cluster"].isin(largest)]
        _draw_plane(axes[row, 1], right, largest, f"{tier}: the largest ({len(largest)})", show_ids=True)
    figure.tight_layout()
    return figure, data.reset_index(drop=True)


def _draw_plane(axes: Axes, rows: pd.DataFrame, clusters: Sequence[int], title: str, *, show_ids: bool) -> None:
    for k, cluster in enumerate(clusters):
        points = rows[rows["cluster"] == cluster]
        colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k // len(COLOURS) % len(MARKERS)]
        axes.scatter(points["x"], points["y"], s=10, color=colour, marker=marker, alpha=0.75, **POINTS)
        if show_ids:
            box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": colour, "linewidth": 0.8}
            centre = (points["x"].median(), points["y"].median())
            text: dict[str, Any] = {"fontsize": 8, "ha": "center", "va": "center", "bbox": box}
            axes.annotate(str(cluster), centre, xytext=(9, 7), textcoords="offset points", **text)
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", "datalim")


def plot_cluster_boxes(clips: pd.DataFrame, overall: float) -> tuple[Figure, pd.DataFrame]:
    """Plot Figure 4: scores of the 15 largest clusters, sorted by falling median.

    Args:
        clips: a row a scored train clip, with the columns `cluster` (-1: in none, shown as in the paper) and `score`.
        overall: mean score of the data set.
    Returns:
        The figure, and what it draws: `cluster, n, low, q1, median, q3, high, mean, outliers` a box (low to high are
        the whiskers, 1.5 quartile ranges at most), `overall` and `mean_of_largest` in every row.
    """
    largest = clips[clips["cluster"].isin(largest_clusters(clips["cluster"]))]
    boxes = box_table(largest).assign(overall=overall, mean_of_largest=float(largest["score"].mean()))
    figure, axes = plt.subplots(figsize=(9.2, 4.6))
    axes.bxp(
        [_box_statistics(row, largest) for row in boxes.to_dict("records")],
        showmeans=True,
        widths=0.6,
        boxprops={"color": INK},
        medianprops={"color": COLOURS[0], "linewidth": 1.8},
        meanprops={"marker": "^", "markerfacecolor": COLOURS[4], "markeredgecolor": INK, "markersize": 5},
        flierprops={"marker": "o", "markersize": 2.5, "markeredgecolor": INK, "alpha": 0.5},
    )
    axes.axhline(overall, color="#C00000", linewidth=1.4, label=f"mean of the data set: {overall:.3f}")
    mean = float(boxes["mean_of_largest"].iloc[0])
    label = f"mean of {f'these {len(boxes)} clusters' if len(boxes) > 1 else 'its one cluster'}: {mean:.3f}"
    axes.axhline(mean, color="#007040", linestyle="--", linewidth=1.4, label=label)
    axes.set_xlabel(f"cluster (clips){'; -1: in no cluster' if (boxes['cluster'] == NOISE).any() else ''}")
    axes.set_ylabel("memorability")
    axes.tick_params(axis="x", labelsize=8)
    axes.legend(loc="lower left", fontsize=8.5)
    return figure, boxes


def box_table(clips: pd.DataFrame) -> pd.DataFrame:
    """Box plot statistics of each cluster.

    Args:
        clips: a row a scored clip, with the columns `cluster` and `score`.
    Returns:
        `cluster, n, low, q1, median, q3, high, mean, outliers`, a row a cluster, by falling median.
    """
    rows = []
    for cluster, scores in clips.groupby("cluster")["score"]:
        (box,) = boxplot_stats(scores.to_numpy(float))
        lower = {"n": len(scores), "low": box["whislo"], "q1": box["q1"], "median": box["med"], "q3": box["q3"]}
        upper = {"high": box["whishi"], "mean": box["mean"], "outliers": len(box["fliers"])}
        rows.append({"cluster": cluster, **lower, **upper})
    return pd.DataFrame(rows).sort_values(["median", "cluster"], ascending=[False, True], ignore_index=True)


def _box_statistics(row: dict[str, float], clips: pd.DataFrame) -> dict[str, object]:
    """Turn a row of `box_table` into what matplotlib's `bxp` takes."""
    scores = clips.loc[clips["cluster"] == row["cluster"], "score"]
    outside = scores[(scores < row["low"]) | (scores > row["high"])]
    names = {"low": "whislo", "q1": "q1", "median": "med", "q3": "q3", "high": "whishi", "mean": "mean"}
    statistics = {theirs: row[ours] for ours, theirs in names.items()}
    return {**statistics, "fliers": outside.to_numpy(), "label": f"{row['cluster']:.0f}\nn={row['n']:.0f}"}


@dataclass(frozen=True)
class ClusterContents:
    """Contents of a cluster.

    Args:
        cluster: id of the cluster.
        mean: mean score of its clips.
        labels: labels of its clips, a list a clip.
        frames: first frames of some of its clips, RGB uint8 (H, W, 3).
    """

    cluster: int
    mean: float
    labels: Sequence[Sequence[str]]
    frames: Sequence[np.ndarray]


def plot_cluster_contents(clusters: Sequence[ClusterContents]) -> tuple[Figure, pd.DataFrame]:
    """Plot Figure 5: label distribution (left) and sample frames (right) of a memorable and of a forgettable cluster.

    Args:
        clusters: clusters to show, a row each.
    Returns:
        The figure, and what it draws: `cluster, label, clips, share` (a clip may bear several labels).
    """
    tables = [label_table(contents) for contents in clusters]
    figure = plt.figure(figsize=(9.2, 2.9 * len(clusters)))
    grid = figure.add_gridspec(len(clusters), 2, width_ratios=[1, 1.6], wspace=0.08, hspace=0.45)
    for row, (contents, table) in enumerate(zip(clusters, tables, strict=True)):
        axes = figure.add_subplot(grid[row, 0])
        axes.barh([label_text(name, 22) for name in table["label"]][::-1], table["share"][::-1], color=COLOURS[row])
        axes.set_title(f"cluster {contents.cluster}, average memorability {contents.mean:.2f}", fontsize=10, loc="left")
        axes.set_xlabel("share of its clips")
        axes.grid(axis="y", visible=False)
        _draw_frames(figure, grid[row, 1], contents.frames)
    return figure, pd.concat(tables, ignore_index=True)


def label_table(contents: ClusterContents) -> pd.DataFrame:
    """Count a cluster's commonest labels, and as `other` the clips that bear none of them.

    Args:
        contents: contents of the cluster.
    Returns:
        `label, clips, cluster, share`, the commonest label first.
    """
    counts = pd.Series([label for labels in contents.labels for label in set(labels)], dtype=object).value_counts()
    top = sorted(counts.index, key=lambda name: (-counts[name], name))[:_LABELS]
    rows = [(label, int(counts[label])) for label in top]
    others = sum(not set(labels) & set(top) for labels in contents.labels)
    frame = pd.DataFrame([*rows, ("other", others)] if others else rows, columns=["label", "clips"])
    return frame.assign(cluster=contents.cluster, share=frame["clips"] / max(1, len(contents.labels)))


def _draw_frames(figure: Figure, cell: object, frames: Sequence[np.ndarray]) -> None:
    columns = 3
    cells = cell.subgridspec(2, columns, wspace=0.04, hspace=0.06)  # type: ignore[attr-defined]
    for k, frame in enumerate(frames[: 2 * columns]):
        axes = figure.add_subplot(cells[k // columns, k % columns])
        axes.imshow(frame)
        axes.set_axis_off()
