"""Figure 2 draws means, bands and best epochs of the runs."""

import itertools

import numpy as np
import pandas as pd
import pytest
from made_reports import make_runs
from matplotlib.text import Annotation, Text

from m3ray.reports import figures
from m3ray.reports.figures.curves import curve_table
from m3ray.reports.style import house_style, render_image


def test_figure_2_draws_means_bands_and_best_epochs():
    runs = make_runs()
    with house_style():
        figure, data = figures.plot_validation_curves(runs)
        lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 4]
        for line, name in zip(lines, ("M3-S", "M3"), strict=True):
            means = runs[runs["variant"] == name].groupby("epoch")["val_spearman"].mean()
            np.testing.assert_allclose(line.get_ydata(), means)
        dots = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
        assert [d.get_ydata()[0] for d in dots] == [data[data["variant"] == n]["mean"].max() for n in ("M3-S", "M3")]
        assert len(figure.axes[0].collections) == 2
        assert render_image(figure, "png").startswith(b"\x89PNG")
        assert b"<text" in render_image(figure, "svg"), "vector text, not outlines"


def test_figure_2_of_one_run_has_no_band():
    with house_style():
        figure, data = figures.plot_validation_curves(make_runs(runs=1))
        assert not figure.axes[0].collections
        assert data["deviation"].isna().all()


def test_runs_that_ended_early_leave_the_mean_of_the_others():
    runs = pd.DataFrame({"variant": "a", "epoch": [1, 1, 2], "val_spearman": [0.2, 0.4, 0.6]})
    table = curve_table(runs)
    assert table["mean"].tolist() == pytest.approx([0.3, 0.6])
    assert table["deviation"][0] == pytest.approx(0.02**0.5)
    assert np.isnan(table["deviation"][1])


def test_what_has_no_epochs_is_a_level_line_over_all_of_them():
    runs = make_runs()
    level = pd.DataFrame({"variant": "ResMem", "run": [0, 1, 2], "epoch": 0, "val_spearman": 0.4})
    nothing = level.assign(variant="constant", val_spearman=np.nan)
    with house_style():
        figure, data = figures.plot_validation_curves(pd.concat([runs, level, nothing], ignore_index=True))
        (line,) = [line for line in figure.axes[0].lines if list(line.get_xdata()) == [1, 4]]
        assert list(line.get_ydata()) == pytest.approx([0.4, 0.4])
        names = [text.get_text() for text in figure.axes[0].texts]
        assert "ResMem" in names
        assert "constant" not in names, "what is undefined has no line"
    assert data.loc[data["variant"] == "ResMem", "deviation"].isna().all()


def lay_out_ends(values):
    """Labels of lines that end at these heights in [0, 1], top of each label's box, bottom, and its line's start."""
    runs = pd.DataFrame(
        [{"variant": f"line {k}", "run": 0, "epoch": epoch, "val_spearman": value if epoch == 2 else (k % 2)}
         for k, value in enumerate(values) for epoch in (1, 2)]
    )  # fmt: skip
    with house_style():
        figure, _ = figures.plot_validation_curves(runs)
        figure.canvas.draw()
        axes = figure.axes[0]
        boxes = [Text.get_window_extent(text) for text in axes.texts]  # of an annotation it holds the line too
        labels = [text for text in axes.texts if isinstance(text, Annotation)]
        heights = [float(text.xyann[1]) for text in labels]
        leaders = [text.arrow_patch for text in labels]
        ends = [line.get_transform().transform(line.get_path().vertices) for line in leaders]
    return boxes, heights, ends


def test_labels_of_ends_that_lie_close_spread_both_ways():
    """Five ends at one height: the labels' mean is that height, and no label covers another."""
    boxes, heights, _ = lay_out_ends([0.5] * 5)
    assert np.mean(heights) == pytest.approx(0.5)
    assert all(below.y1 <= above.y0 for below, above in itertools.pairwise(boxes))


def test_a_label_that_has_room_stands_at_its_line_s_end():
    _, heights, _ = lay_out_ends([0.1, 0.5, 0.9])
    assert heights == pytest.approx([0.1, 0.5, 0.9])


def test_labels_at_the_edge_stay_beside_the_axes():
    _, heights, _ = lay_out_ends([0.0, 0.0, 1.0, 1.0, 1.0])
    assert min(heights) > -0.06
    assert max(heights) < 1.06


def test_no_leader_line_crosses_a_label():
    boxes, _, leaders = lay_out_ends([0.48, 0.49, 0.5, 0.5, 0.51, 0.9])
    left = min(box.x0 for box in boxes)
    for line in leaders:
        assert line[:, 0].max() <= left + 1, "each ends where the labels begin"


def test_a_band_ends_where_a_correlation_does():
    """Of few val clips mean and deviation together reached beyond 1."""
    runs = pd.DataFrame({"variant": "a", "run": [0, 1] * 2, "epoch": [1, 1, 2, 2], "val_spearman": [1, 0.5, -1, -0.6]})
    figure, _ = figures.plot_validation_curves(runs)
    (band,) = figure.axes[0].collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (-1, 1)
