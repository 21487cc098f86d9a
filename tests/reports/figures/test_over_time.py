"""Scores over time are drawn as they were predicted."""

import pandas as pd

from m3ray.reports import figures
from m3ray.reports.figures.over_time import plot_over_time


def test_the_curves_over_time_are_those_predicted():
    frame = pd.DataFrame(
        {
            "clip_id": ["still", "wild", "short"],
            "score": [0.5, 0.6, 0.7],
            "times": [[1.5, 2.5], [1.5, 2.5, 3.5], None],
            "curve": [[0.5, 0.51], [0.2, 0.9, 0.6], None],
        }
    )
    figure, data = figures.plot_over_time(frame)
    assert list(data["clip_id"].unique()) == ["wild", "still"], "those that vary most first"
    curve = figure.axes[0].lines[1]
    assert (list(curve.get_xdata()), list(curve.get_ydata())) == ([1.5, 2.5, 3.5], [0.2, 0.9, 0.6])
    assert len(data) == 5


def test_the_six_clips_that_vary_most_have_a_panel_each():
    curves = [[0.5, 0.5 + 0.01 * k] for k in range(8)]
    frame = pd.DataFrame({"clip_id": list("abcdefgh"), "score": 0.5, "times": [[1.0, 2.0]] * 8, "curve": curves})
    figure, data = plot_over_time(frame)
    assert list(data["clip_id"].unique()) == list("hgfedc")
    assert sum(axes.axison for axes in figure.axes) == 6


def test_where_no_clip_has_two_windows_there_is_nothing_to_draw():
    frame = pd.DataFrame({"clip_id": ["a", "b"], "score": 0.5, "times": [[0.5], None], "curve": [[0.5], None]})
    _, data = plot_over_time(frame)
    assert data.empty
