"""Figures of several data sets: what each panel draws, and what stands where there is nothing to draw."""

import numpy as np
import pandas as pd
import pytest
from made_reports import make_runs
from matplotlib.colors import to_hex

from m3ray.reports.figures.side_by_side import (
    Distributions,
    plot_curves_beside,
    plot_distributions_beside,
    plot_pairs_beside,
)
from m3ray.reports.style import COLOURS, render_image

NOTHING = "no study: jobs/ablate.py makes one"


def make_predictions(low, high, clips=30):
    truth = np.linspace(low, high, clips)
    return pd.DataFrame({"truth": truth, "score": truth[::-1]})


def make_pairs(clips=40, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(rng.random((clips, 3)), columns=["brightness", "contrast", "score"])


def panel_texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_a_variant_has_one_colour_in_every_panel():
    panels = {"A": make_runs(names=("M3-S", "M3")), "B": make_runs(names=("M3", "M3 without raw"))}
    figure, data = plot_curves_beside(panels)
    left, right = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["A", "B"]
    colours = [
        [to_hex(line.get_color(), keep_alpha=False).upper() for line in axes.lines[::2]] for axes in (left, right)
    ]
    assert colours == [list(COLOURS[:2]), list(COLOURS[1:3])]
    assert list(data.columns) == ["dataset", "variant", "epoch", "mean", "deviation"]
    assert data.groupby("dataset")["variant"].unique().map(list).to_dict() == {
        "A": ["M3-S", "M3"],
        "B": ["M3", "M3 without raw"],
    }


def test_each_grid_has_its_own_correlations():
    panels = {"A": make_pairs(seed=0), "B": make_pairs(60, seed=1)}
    figure, data = plot_pairs_beside(panels)
    assert len(figure.axes) == 2 * 9
    assert [part.get_suptitle() for part in figure.subfigs] == ["A", "B"]
    assert data.groupby("dataset")["n"].first().to_dict() == {"A": 40, "B": 60}
    own = data[(data["dataset"] == "B") & (data["x"] == "brightness") & (data["y"] == "score")]["r"].item()
    assert own == pytest.approx(panels["B"]["brightness"].corr(panels["B"]["score"]))


def test_rows_of_distributions_share_the_scale_of_memorability():
    panels = {
        "A": Distributions(make_predictions(0.5, 0.9), "rho 1"),
        "B": Distributions(make_predictions(0.2, 0.6), "rho 2"),
    }
    figure, data = plot_distributions_beside(panels)
    assert [part.get_suptitle() for part in figure.subfigs] == ["(a) A", "(b) B"]
    rows = [part.axes for part in figure.subfigs]
    assert [right.get_title() for _, right in rows] == ["rho 1", "rho 2"]
    limits = {limit for left, right in rows for limit in (left.get_xlim(), right.get_ylim())}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low < 0.2
    assert high > 0.9
    assert data.groupby("dataset")["truth"].max().to_dict() == pytest.approx({"A": 0.9, "B": 0.6})


@pytest.mark.parametrize(
    ("plot", "content"),
    [
        (plot_curves_beside, make_runs()),
        (plot_pairs_beside, make_pairs()),
        (plot_distributions_beside, Distributions(make_predictions(0.2, 0.6), "rho")),
    ],
)
def test_a_data_set_without_its_part_leaves_a_panel_that_says_why(plot, content):
    figure, data = plot({"A": NOTHING, "B": content})
    assert NOTHING in panel_texts(figure)
    assert set(data["dataset"]) == {"B"}
    assert render_image(figure, "svg").count(NOTHING.encode()) == 1
    empty, none = plot({"A": NOTHING, "B": NOTHING})
    assert panel_texts(empty) == [NOTHING, NOTHING]
    assert list(none.columns) == ["dataset"]
    assert not len(none)


def test_names_are_drawn_as_they_are():
    figure, _ = plot_curves_beside({"$a_1$ and $b": make_runs(), "B": NOTHING})
    assert b"$a_1$ and $b" in render_image(figure, "svg")
