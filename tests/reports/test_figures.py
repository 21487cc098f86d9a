"""What figures draw equals what the tables hold: lines, medians, counts, r and p, without a look at pixels."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba
from scipy import stats

from m3ray.reports import figures
from m3ray.reports.figure_sections import add_moments
from m3ray.reports.figures.clusters import Contents, box_table, label_table
from m3ray.reports.page_content import Page
from m3ray.reports.style import COLOURS, house_style, image, plain
from m3ray.storage.root import Root


@pytest.fixture(autouse=True)
def _style():
    with house_style():
        yield
    assert not plt.get_fignums(), "figures are closed"


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
    figure, data = figures.cluster_planes(points)
    left, right = figure.axes[0], figure.axes[1]
    assert sum(len(c.get_offsets()) for c in left.collections) == (cluster >= 0).sum()
    sizes = pd.Series(cluster[cluster >= 0]).value_counts()
    assert len(right.collections) == 15
    assert sum(len(c.get_offsets()) for c in right.collections) == sizes.iloc[:15].sum()
    assert {int(t.get_text()) for t in right.texts} == set(figures.largest_clusters(pd.Series(cluster[cluster >= 0])))
    assert len(data) == 2 * (cluster >= 0).sum()
    assert data["largest"].sum() == 2 * sizes.iloc[:15].sum()
    looks = {(tuple(c.get_facecolor()[0]), str(c.get_paths()[0].vertices.shape)) for c in right.collections}
    assert len(looks) == 15, "no two of the largest look alike"


def test_figure_4_boxes_are_the_clusters(clips):
    figure, data = figures.cluster_boxes(clips, overall=0.7)
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
    contents = Contents(61, 0.82, names, [frame] * 4)
    table = label_table(contents).set_index("label")
    assert table.loc["fire", "clips"] == 7
    assert table.loc["smoke", "clips"] == 2
    assert len(table) == 7
    assert table.loc["other", "clips"] == 4, "of eight rare labels four are named"
    assert table.loc["fire", "share"] == pytest.approx(7 / 15)
    figure, data = figures.cluster_contents([contents, Contents(40, 0.7, [["ski"]], [frame])])
    assert [b.get_width() for b in figure.axes[0].patches][::-1] == pytest.approx(list(table["share"]))
    assert "cluster 61, average memorability 0.82" in [a.get_title(loc="left") for a in figure.axes]
    assert sum(bool(a.images) for a in figure.axes) == 5
    assert data.groupby("cluster")["clips"].sum()[40] == 1


def test_figure_6_has_r_and_p_in_each_cell():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    features = pd.DataFrame({"brightness": x, "flow": 0.5 * x + rng.normal(size=200), "flat": 1.0})
    features["score"] = rng.random(200)
    figure, data = figures.pairs(features)
    for row in data.itertuples():
        if "flat" in (row.x, row.y):
            assert np.isnan(row.r)
            continue
        line = stats.linregress(features[row.x], features[row.y])
        assert (row.r, row.p) == (pytest.approx(line.rvalue), pytest.approx(line.pvalue))
    assert len(data) == 6
    texts = [[t.get_text() for t in axes.texts] for axes in figure.axes]
    assert [len(t) for t in texts] == [int(k % 5 != 0) for k in range(16)], "one in each cell off the diagonal"
    first = data.iloc[0]
    assert texts[4][0].startswith(f"r = {first.r:.2f}")
    assert texts[4] == texts[1], "a pair says the same above and below"
    assert "p < 0.001" in texts[4][0]
    assert texts[2] == ["constant"]
    assert len(figure.axes[4].collections[0].get_offsets()) == 200


def test_the_calibration_line_is_the_regression():
    rng = np.random.default_rng(0)
    score = rng.random(100)
    frame = pd.DataFrame({"score": score, "truth": 0.2 + 0.5 * score + rng.normal(0, 0.05, 100)})
    figure, data = figures.calibration(frame)
    line = stats.linregress(frame["score"], frame["truth"])
    np.testing.assert_allclose(data["calibrated"], line.intercept + line.slope * frame["score"])
    dashed = next(drawn for drawn in figure.axes[0].lines if drawn.get_linestyle() == "--")
    np.testing.assert_allclose(dashed.get_ydata(), line.intercept + line.slope * dashed.get_xdata())
    assert len(figure.axes[0].containers) == 10, "a mean for each tenth"
    _, flat = figures.calibration(frame.assign(score=0.5))
    assert flat["calibrated"].to_numpy() == pytest.approx(frame["truth"].mean()), (
        "a constant prediction divides nothing"
    )


def test_the_forest_has_each_difference_once():
    trials = pd.DataFrame(
        {
            "variant": ["M3-S", "M3-S without hog", "M3", "raw"],
            "full": [None, "M3-S", "M3-S", None],
            "delta_spearman": [np.nan, -0.02, 0.01, np.nan],
            "delta_low": [np.nan, -0.03, np.nan, np.nan],
            "delta_high": [np.nan, -0.01, np.nan, np.nan],
            "boot_low": [np.nan, -0.05, -0.01, np.nan],
            "boot_high": [np.nan, 0.01, 0.03, np.nan],
        }
    )
    figure, data = figures.forest(trials, {2: ["M3-S", "M3-S without hog"], 3: ["M3-S", "M3", "M3-S without hog"]})
    assert data[["table", "variant"]].values.tolist() == [[2, "M3-S without hog"], [3, "M3"]]
    points = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert [p.get_xdata()[0] for p in points] == [-0.02, 0.01]
    assert [p.get_marker() for p in points] == ["v", "^"], "worse and better differ by more than colour"
    thick = [line for line in figure.axes[0].lines if line.get_linewidth() == 3]
    assert [list(line.get_xdata()) for line in thick] == [[-0.03, -0.01]]


def test_the_search_marks_its_best_and_greys_what_was_stopped():
    trials = pd.DataFrame(
        {
            "learning_rate": [1e-4, 1e-3, 1e-2],
            "loss": ["mse", "spearman", "mse"],
            "spearman": [0.3, 0.5, 0.6],
            "complete": [True, True, False],
        }
    )
    figure, data = figures.parallel_coordinates(trials, ["learning_rate", "loss"], ["learning_rate"])
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    np.testing.assert_allclose(lines[0].get_ydata(), [0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(lines[1].get_ydata(), [0.5, 1, 2 / 3], atol=1e-12)
    assert to_rgba(lines[2].get_color()) == to_rgba("#bbbbbb")
    assert lines[3].get_label() == "best"
    np.testing.assert_allclose(lines[3].get_ydata(), lines[1].get_ydata())
    assert len(data) == 3


def test_the_curves_over_time_are_those_predicted():
    frame = pd.DataFrame(
        {
            "clip_id": ["still", "wild", "short"],
            "score": [0.5, 0.6, 0.7],
            "times": [[1.5, 2.5], [1.5, 2.5, 3.5], None],
            "curve": [[0.5, 0.51], [0.2, 0.9, 0.6], None],
        }
    )
    figure, data = figures.over_time(frame)
    assert list(data["clip_id"].unique()) == ["wild", "still"], "those that vary most first"
    curve = figure.axes[0].lines[1]
    assert (list(curve.get_xdata()), list(curve.get_ydata())) == ([1.5, 2.5, 3.5], [0.2, 0.9, 0.6])
    assert len(data) == 5


def test_names_are_text_not_mathematics_nor_pages():
    assert plain("cost $5$ a\nday") == r"cost \$5\$ a day"
    assert len(plain("x" * 300)) == 40
    hostile = pd.DataFrame({"truth": [0.1, 0.5], "score": [0.2, 0.4]})
    assert image(figures.distributions(hostile)[0], "svg").count(b"<text") > 4, "vector text, not outlines"


def test_curves_of_predict_beside_a_study_are_found(tmp_path):
    """predict.py leaves the study's predictions.parquet, which has no curves, and writes beside it."""
    root, page = Root(str(tmp_path)), Page({}, [], [], None, False)
    root.write_table(pa.table({"clip_id": ["a"], "score": [0.5]}), "predictions.parquet")
    add_moments(root, page)
    assert page.missing == ["No scores over time: run jobs/predict.py --over-time."]
    curves = {"clip_id": ["a"], "score": [0.5], "times": [[1.5, 2.5, 3.5]], "curve": [[0.2, 0.9, 0.6]]}
    root.write_table(pa.table(curves), "predict", "predictions.parquet")
    add_moments(root, page)
    assert len(page.figures) == 1
