"""The figure of scores whose truth nobody knows."""

import pandas as pd
from matplotlib.patches import Rectangle

from m3ray.reports.figures.scores import plot_scores
from m3ray.reports.style import house_style


def test_it_draws_every_clip_by_its_rank():
    with house_style():
        frame = pd.DataFrame({"clip_id": ["a", "b", "c", "d"], "score": [0.2, 0.9, 0.4, 0.5]})
        figure, drawn = plot_scores(frame)
        assert drawn["clip_id"].tolist() == ["b", "d", "c", "a"]
        assert drawn["rank"].tolist() == [1, 2, 3, 4]
        left, right = figure.axes
        assert sum(bar.get_height() for bar in left.patches if isinstance(bar, Rectangle)) == 4
        assert right.lines[0].get_ydata().tolist() == [0.9, 0.5, 0.4, 0.2]
