"""Which values of a table are marked."""

import numpy as np
import pandas as pd

from m3ray.reports.tables.table import Table, find_mark, rank_best


def test_the_smallest_is_the_best_and_missing_values_have_no_rank():
    frame = pd.DataFrame({"rho": ["0.1", "0.3", "0.2"], "MSE": ["", "", ""], "Contribution": ["", "+0.3 [0, 1] *", ""]})
    values = {
        "rho": pd.Series([-0.1, -0.3, -0.2]),
        "MSE": pd.Series([np.nan] * 3),
        "Contribution": pd.Series([np.nan, -0.3, np.nan]),
    }
    assert rank_best(values, frame) == ({"rho": (1,), "Contribution": (1,)}, {"rho": (2,)})


def test_what_is_equal_as_printed_is_marked_alike_whatever_its_row():
    """0.30001 and 0.29999 are both printed as 0.3000: which of them was bold was a matter of digits nobody sees."""
    texts = ["0.3000", "0.2000", "0.3000", "0.2000", "0.1000"]
    values = pd.Series([-0.29999, -0.20001, -0.30001, -0.2, -0.1])
    for order in ([0, 1, 2, 3, 4], [2, 3, 0, 1, 4]):
        frame = pd.DataFrame({"rho": [texts[row] for row in order]})
        ranked = pd.Series([values[row] for row in order])
        assert rank_best({"rho": ranked}, frame) == ({"rho": (0, 2)}, {"rho": (1, 3)})


def test_a_value_whose_text_is_equal_but_that_does_not_rank_is_not_marked():
    """A model that predicts a constant may have the same squared error as the best."""
    frame = pd.DataFrame({"MSE": ["0.00810", "0.00810", "0.00900"]})
    assert rank_best({"MSE": pd.Series([0.0081, np.nan, 0.009])}, frame) == ({"MSE": (0,)}, {"MSE": (2,)})


def test_minus_nothing_is_nothing_and_intervals_do_not_tell_values_apart():
    frame = pd.DataFrame({"Contribution": ["-0.0000 [-1, +1]", "+0.0000 [-2, +2]", "-0.1 [-1, +1]"]})
    best, second = rank_best({"Contribution": pd.Series([1e-6, -1e-6, 0.1])}, frame)
    assert (best, second) == ({"Contribution": (0, 1)}, {"Contribution": (2,)})


def test_marks_are_found_by_column_and_row():
    table = Table(3, "", pd.DataFrame(), pd.DataFrame(), {"rho": (0, 2)}, {"rho": (1,)})
    assert [find_mark(table, "rho", row) for row in range(4)] == ["best", "second", "best", ""]
    assert find_mark(table, "MSE", 0) == ""
