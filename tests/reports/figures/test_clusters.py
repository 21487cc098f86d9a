"""Figures 3 to 5 draw what the clusters hold: points, boxes, labels and frames."""

import numpy as np
import pandas as pd
import pytest

from m3ray.reports import figures
from m3ray.reports.figures.clusters import ClusterContents, box_table, label_table
from m3ray.reports.style import COLOURS


@pytest.fixture
def clips():
    """Twenty clusters of falling size, the larger the id the more memorable; -1 the largest of all."""
    rng = np.random.default_rng(0)
    sizes = {-1: 80, **{k: 40 - k for k in range(20)}}
    rows = [(k, 0.5 + 0.02 * k + rng.normal(0, 0.02)) for k, n in sizes.items() for _ in range(n)]
    return pd.DataFrame(rows, columns=["cluster", "score"])


def test_figure_3_draws_every_clip_that_is_in_a_cluster():
    rng = np.random.default_rng(0)
    cluster = rng.integers(-1, 20, 300)
    points = pd.DataFrame({"clip_id": [f"c{k}" for k in range(300)], "x": rng.random(300), "y": rng.random(300)})
    points = pd.concat([points.assign(tier=tier, cluster=cluster) for tier in ("scene", "event")], ignore_index=True)
    figure, data = figures.plot_cluster_planes(points)
    left, right = figure.axes[0], figure.axes[1]
    assert sum(len(c.get_offsets()) for c in left.collections) == (cluster >= 0).sum()  # type: ignore[misc]
    sizes = pd.Series(cluster[cluster >= 0]).value_counts()
    assert len(right.collections) == 15
    assert sum(len(c.get_offsets()) for c in right.collections) == sizes.iloc[:15].sum()  # type: ignore[misc]
    assert {int(t.get_text()) for t in right.texts} == set(figures.largest_clusters(pd.Series(cluster[cluster >= 0])))
    assert len(data) == 2 * (cluster >= 0).sum()
    assert data["largest"].sum() == 2 * sizes.iloc[:15].sum()
    looks = {(tuple(c.get_facecolor()[0]), str(c.get_paths()[0].vertices.shape)) for c in right.collections}
    assert len(looks) == 15, "no two of the largest look alike"


def test_figure_4_boxes_are_the_clusters(clips):
    figure, data = figures.plot_cluster_boxes(clips, overall=0.7)
    assert len(data) == 15
    assert -1 in set(data["cluster"]), "as in the paper"
    assert data["median"].is_monotonic_decreasing
    for row in data.itertuples():
        scores = clips.loc[clips["cluster"] == row.cluster, "score"]
        expected = np.percentile(scores, [25, 50, 75])
        np.testing.assert_allclose([row.q1, row.median, row.q3], expected)
        assert row.n == len(scores)
        assert row.mean == pytest.approx(scores.mean())
        reach = 1.5 * (row.q3 - row.q1)
        inside = scores[(scores >= row.q1 - reach) & (scores <= row.q3 + reach)]
        assert (row.low, row.high, row.outliers) == (inside.min(), inside.max(), len(scores) - len(inside))
    axes = figure.axes[0]
    medians = [line.get_ydata()[0] for line in axes.lines if line.get_color() == COLOURS[0]]
    np.testing.assert_allclose(medians, data["median"])
    red, green = (line for line in axes.lines if len(line.get_xdata()) == 2 and list(line.get_xdata()) == [0, 1])
    kept = clips[clips["cluster"].isin(data["cluster"])]
    assert red.get_ydata()[0] == 0.7
    assert green.get_ydata()[0] == pytest.approx(kept["score"].mean())
    assert red.get_linestyle() == "-"
    assert green.get_linestyle() == "--"
    assert [t.get_text() for t in axes.get_xticklabels()] == [f"{r.cluster}\nn={r.n}" for r in data.itertuples()]


def test_clusters_of_one_size_are_taken_in_the_order_of_their_ids():
    assert figures.largest_clusters(pd.Series([3, 3, 1, 1, 2, 2, 0]), 2) == [1, 2]
    assert list(box_table(pd.DataFrame({"cluster": [1, 0], "score": [0.5, 0.5]}))["cluster"]) == [0, 1]


def test_figure_5_counts_labels_and_others():
    names = [["fire"]] * 5 + [["fire", "smoke"]] * 2 + [[f"rare {k}"] for k in range(8)]
    frame = np.zeros((20, 30, 3), np.uint8)
    contents = ClusterContents(61, 0.82, names, [frame] * 4)
    table = label_table(contents).set_index("label")
    assert table.loc["fire", "clips"] == 7
    assert table.loc["smoke", "clips"] == 2
    assert len(table) == 7
    assert table.loc["other", "clips"] == 4, "of eight rare labels four are named"
    assert table.loc["fire", "share"] == pytest.approx(7 / 15)
    figure, data = figures.plot_cluster_contents([contents, ClusterContents(40, 0.7, [["ski"]], [frame])])
    widths = [bar.get_width() for bar in figure.axes[0].patches]  # type: ignore[attr-defined]
    assert widths[::-1] == pytest.approx(list(table["share"]))
    assert "cluster 61, average memorability 0.82" in [a.get_title(loc="left") for a in figure.axes]
    assert sum(bool(a.images) for a in figure.axes) == 5
    assert data.groupby("cluster")["clips"].sum()[40] == 1
