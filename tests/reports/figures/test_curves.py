"""Figure 2 draws means, bands and best epochs of the runs."""

import numpy as np
import pandas as pd
import pytest
from made_reports import make_runs

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
