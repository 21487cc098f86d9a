"""The search draws its best setting thick and those that were stopped grey."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from m3ray.reports import figures
from m3ray.reports.figures.search import _axis_positions


def test_the_search_marks_its_best_and_greys_what_was_stopped():
    trials = pd.DataFrame(
        {
            "learning_rate": [1e-4, 1e-3, 1e-2],
            "loss": ["mse", "spearman", "mse"],
            "spearman": [0.3, 0.5, 0.6],
            "complete": [True, True, False],
        }
    )
    figure, data = figures.plot_parallel_coordinates(trials, ["learning_rate", "loss"], ["learning_rate"])
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    np.testing.assert_allclose(lines[0].get_ydata(), [0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(lines[1].get_ydata(), [0.5, 1, 2 / 3], atol=1e-12)
    assert to_rgba(lines[2].get_color()) == to_rgba("#bbbbbb")
    assert lines[3].get_label() == "best"
    np.testing.assert_allclose(lines[3].get_ydata(), lines[1].get_ydata())
    assert len(data) == 3


def test_equal_values_stand_in_the_middle_and_words_in_their_order():
    assert _axis_positions(pd.Series([3.0, 3.0]), logarithmic=False).tolist() == [0.5, 0.5]
    assert _axis_positions(pd.Series([1.0, 10.0, 100.0]), logarithmic=True).tolist() == pytest.approx([0, 0.5, 1])
    assert _axis_positions(pd.Series(["b", "a", "c"]), logarithmic=False).tolist() == [0.5, 0, 1]


def test_the_least_error_is_the_best():
    trials = pd.DataFrame({"batch": [8, 32], "mse": [0.02, 0.01], "complete": True})
    figure, _ = figures.plot_parallel_coordinates(trials, ["batch"], [], "mse")
    best = next(line for line in figure.axes[0].lines if line.get_label() == "best")
    assert list(best.get_ydata()) == [1, 0]


def test_what_the_objective_rules_out_is_not_the_best():
    """The best ranking has an error that is too large: it is dotted, and the next one thick."""
    trials = pd.DataFrame(
        {"batch": [8, 32, 64], "spearman": [0.5, 0.6, 0.4], "complete": True, "admissible": [True, False, True]}
    )
    figure, data = figures.plot_parallel_coordinates(trials, ["batch"], [])
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert [line.get_linestyle() for line in lines[:3]] == ["-", ":", "-"]
    best = next(line for line in lines if line.get_label() == "best")
    assert list(best.get_ydata()) == list(lines[0].get_ydata())
    assert data["admissible"].tolist() == [True, False, True]
