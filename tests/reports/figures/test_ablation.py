"""The forest plot draws each difference once, and tells worse from better by more than colour."""

import numpy as np
import pandas as pd

from m3ray.reports import figures
from m3ray.reports.figures.ablation import forest_table


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
    figure, data = figures.plot_forest(trials, {2: ["M3-S", "M3-S without hog"], 3: ["M3-S", "M3", "M3-S without hog"]})
    assert data[["table", "variant"]].values.tolist() == [[2, "M3-S without hog"], [3, "M3"]]
    points = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert [p.get_xdata()[0] for p in points] == [-0.02, 0.01]
    assert [p.get_marker() for p in points] == ["v", "^"], "worse and better differ by more than colour"
    thick = [line for line in figure.axes[0].lines if line.get_linewidth() == 3]
    assert [list(line.get_xdata()) for line in thick] == [[-0.03, -0.01]]


def test_a_variant_of_two_tables_stands_under_the_first():
    trials = pd.DataFrame({"variant": ["b", "a"], "full": "M3-S", "delta_spearman": [0.1, 0.2], "table": 0})
    trials = trials.drop(columns="table").assign(delta_low=np.nan, delta_high=np.nan, boot_low=np.nan, boot_high=np.nan)
    rows = forest_table(trials, {3: ["a", "b"], 2: ["b"], 1: ["gone"]})
    assert rows[["table", "variant"]].values.tolist() == [[2, "b"], [3, "a"]]
