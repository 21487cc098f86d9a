"""The forest plot draws each difference once, and tells worse from better by more than colour."""

import numpy as np
import pandas as pd
import pytest
from made_reports import add_parts

from m3ray.reports import figures
from m3ray.reports.figures.ablation import find_axis, forest_table


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


def test_rows_that_are_no_ablation_count_in_the_correction_and_are_not_drawn():
    trials = pd.DataFrame({"variant": ["a", "ResMem"], "full": "M3-S", "delta_spearman": [0.2, 0.1]})
    trials = add_parts(trials.assign(delta_low=0.05, delta_high=0.25), [0.03, 0.6])
    _, data = figures.plot_forest(trials, {3: ["a", "ResMem"]}, None, ["ResMem"])
    assert data["variant"].tolist() == ["a"]
    assert data["corrected_p"].tolist() == pytest.approx([0.06]), "Holm: the smallest of two, twice"


def make_many(**last):
    """Twelve small differences, and one row more."""
    estimates = np.linspace(-0.02, 0.02, 12)
    rows = pd.DataFrame({"variant": [f"v{k}" for k in range(12)], "delta_spearman": estimates})
    rows = rows.assign(delta_low=estimates - 0.01, delta_high=estimates + 0.01)
    rows = pd.concat([rows, pd.DataFrame([{"variant": "far", **last}])], ignore_index=True)
    return add_parts(rows.assign(full="M3-S"), 0.5)


def draw_many(**last):
    trials = make_many(**last)
    figure, data = figures.plot_forest(trials, {3: list(trials["variant"])})
    return figure.axes[0], data, [text.get_text() for text in figure.axes[0].texts]


def test_one_outlier_does_not_flatten_the_forest_and_is_not_left_out_in_silence():
    axes, data, texts = draw_many(delta_spearman=-0.9, delta_low=-1.1, delta_high=-0.7)
    numbers = data[["delta_spearman", "delta_low", "delta_high"]].to_numpy()
    lower, upper = np.quantile(numbers, [0.25, 0.75])
    low, high = axes.get_xlim()
    # The lower end: three quartile ranges below the lower quartile; the upper: the highest number; 4 % beyond either.
    fence, top = lower - 3 * (upper - lower), 0.03
    assert (low, high) == pytest.approx((fence - 0.04 * (top - fence), top + 0.04 * (top - fence)))
    assert texts == ["-0.900 [-1.100, -0.700]"]
    arrows = [line for line in axes.lines if line.get_marker() == "<"]
    assert [line.get_xdata()[0] for line in arrows] == [pytest.approx(low)]
    assert data["beyond"].tolist() == [False] * 12 + [True]
    assert data["delta_low"].iloc[-1] == -1.1, "the file has every number"


def test_an_outlier_above_stands_at_the_other_end():
    axes, _, texts = draw_many(delta_spearman=0.9, delta_low=0.7, delta_high=1.1)
    assert texts == ["+0.900 [+0.700, +1.100]"]
    assert [line.get_xdata()[0] for line in axes.lines if line.get_marker() == ">"] == [axes.get_xlim()[1]]


def test_ends_of_a_wide_interval_are_marked_on_both_sides():
    axes, data, texts = draw_many(delta_spearman=0.0, delta_low=-0.8, delta_high=0.6)
    assert texts == ["-0.800", "+0.600"], "its estimate is drawn"
    assert [line.get_marker() for line in axes.lines if line.get_marker() in ("<", ">")] == ["<", ">"]
    assert data["beyond"].sum() == 1


def test_an_outlier_without_an_interval_has_its_number():
    _, _, texts = draw_many(delta_spearman=-0.9, delta_low=np.nan, delta_high=np.nan)
    assert texts == ["-0.900"]


def test_differences_of_one_order_are_all_drawn():
    axes, data, texts = draw_many(delta_spearman=-0.04, delta_low=-0.05, delta_high=-0.03)
    assert texts == []
    assert not data["beyond"].any()
    assert axes.get_xlim()[0] < -0.05


def test_an_axis_without_a_middle_or_without_numbers_is_whole():
    assert find_axis(np.array([0.1, 0.1, 0.1, 0.1, 9])) == (-np.inf, np.inf), "no quartile range to measure by"
    assert find_axis(np.array([np.nan])) == (-np.inf, np.inf)


def test_a_row_whose_runs_stopped_early_has_no_star_as_in_its_table():
    trials = pd.DataFrame({"variant": ["a", "b"], "full": "M3-S", "delta_spearman": [0.2, 0.1]})
    trials = add_parts(trials.assign(delta_low=0.05, delta_high=0.25), [0.001, 0.001])
    stopped = trials.assign(status=["1 of 5 runs stopped early: diverged", "done"])
    figure, rows = figures.plot_forest(stopped, {2: ["a", "b"]})
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a  (table 2)", "b  (table 2) *"]
    assert np.isnan(rows["corrected_p"][0])


def test_rows_of_two_tables_keep_the_order_of_the_one_that_they_stand_under():
    trials = pd.DataFrame({"variant": ["c", "b", "a"], "full": "M3-S", "delta_spearman": [0.3, 0.2, 0.1]})
    trials = add_parts(trials.assign(delta_low=0.05, delta_high=0.35), [0.5, 0.5, 0.5])
    assert forest_table(trials, {2: ["a", "b"], 3: ["c", "b", "a"]})["variant"].tolist() == ["a", "b", "c"]
