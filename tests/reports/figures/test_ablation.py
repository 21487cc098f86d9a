"""The forest plot draws each difference once, and tells worse from better by more than colour."""

import numpy as np
import pandas as pd
import pytest
from made_reports import add_parts

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
        }
    )
    trials = add_parts(trials, [np.nan, 0.002, np.nan, np.nan])
    figure, data = figures.plot_forest(trials, {2: ["M3-S", "M3-S without hog"], 3: ["M3-S", "M3", "M3-S without hog"]})
    assert data[["table", "variant"]].values.tolist() == [[2, "M3-S without hog"], [3, "M3"]]
    points = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert [p.get_xdata()[0] for p in points] == [-0.02, 0.01]
    assert [p.get_marker() for p in points] == ["v", "^"], "worse and better differ by more than colour"
    thick = [line for line in figure.axes[0].lines if line.get_linewidth() == 3]
    # A quarter of the variance is of the runs: half of the interval.
    assert [pytest.approx([-0.025, -0.015])] == [list(line.get_xdata()) for line in thick]
    thin = [line for line in figure.axes[0].lines if line.get_linewidth() == 0.9]
    assert [list(line.get_xdata()) for line in thin] == [[-0.03, -0.01]]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["M3-S without hog  (table 2) *", "M3  (table 3)"]


def test_a_star_of_the_forest_is_the_corrected_one():
    """Holm: 0.03 is the smallest of two in table 2, so twice that counts."""
    trials = pd.DataFrame({"variant": ["a", "b"], "full": "M3-S", "delta_spearman": [0.2, 0.1]})
    trials = add_parts(trials.assign(delta_low=0.05, delta_high=0.25), [0.03, 0.6])
    assert forest_table(trials, {2: ["a", "b"]})["corrected_p"].tolist() == pytest.approx([0.06, 0.6])
    figure, _ = figures.plot_forest(trials, {2: ["a", "b"]})
    assert not any("*" in label.get_text() for label in figure.axes[0].get_yticklabels())
    figure, _ = figures.plot_forest(trials, {2: ["a"], 3: ["b"]})
    assert "*" in figure.axes[0].get_yticklabels()[0].get_text()


def test_an_older_study_s_forest_has_points_alone():
    trials = pd.DataFrame(
        {"variant": ["a"], "full": "M3-S", "delta_spearman": 0.2, "delta_low": 0.1, "delta_high": 0.3}
    )
    figure, data = figures.plot_forest(trials.assign(boot_low=0.1, boot_high=0.3), {2: ["a"]})
    assert data[["delta_low", "runs_low"]].isna().all(axis=None)
    assert len(figure.axes[0].lines) == 2, "zero, and the difference"


def test_a_variant_of_two_tables_stands_under_the_first():
    trials = pd.DataFrame({"variant": ["b", "a"], "full": "M3-S", "delta_spearman": [0.1, 0.2], "table": 0})
    trials = trials.drop(columns="table").assign(delta_low=np.nan, delta_high=np.nan, delta_p=np.nan)
    rows = forest_table(trials, {3: ["a", "b"], 2: ["b"], 1: ["gone"]})
    assert rows[["table", "variant"]].values.tolist() == [[2, "b"], [3, "a"]]
