"""Columns of siunitx: room for the widest number, its sign, and what stands beside it."""

import pandas as pd
import pytest

from m3ray.reports.tables.latex_columns import make_columns
from m3ray.reports.tables.table import Table


def make(texts, best=(), second=(), ticks=()):
    frame = pd.DataFrame({"Model": ["m"] * len(texts), "x": texts})
    return make_columns(Table(1, "", frame, frame, {"x": best}, {"x": second}, ticks=ticks), "x")


@pytest.mark.parametrize(
    ("texts", "specifier"),
    [
        (["0.1", "0.25"], "S[table-format=1.2]"),
        (["-0.1", "12"], "S[table-format=-2.1]"),
        (["+0.1", "-0.1"], "S[table-format=+1.1]"),
        (["1,460,865", "735"], "S[table-format=7.0]"),
        (["5.1e-08", "2e-07"], "S[table-format=1.1e-1]"),
        (["< 0.001", "0.040"], r"S[table-format=1.3,table-space-text-pre={$<$\,}]"),
        (["0.1 (epoch 9)", "0.2 (epoch 10)"], "S[table-format=1.1,table-space-text-post={ (epoch 10)}]"),
        (["0.61 ± 0.01", "0.6"], r"S[table-format=1.2,table-space-text-post={\,$\pm$\,0.01}]"),
    ],
)
def test_a_column_has_room_for_all_of_its_numbers(texts, specifier):
    (column,) = make(texts)
    assert column.specifier == specifier
    assert column.head == "{x}", "braces keep a head from being read as a number"


def test_an_interval_has_a_column_of_its_own_and_a_star_stands_behind_its_number():
    number, interval = make(["-0.03 [-0.05, -0.01] *", "+0.02 (one run: no interval)", "", "failed: memory"])
    assert number.cells == (r"-0.03{\,*}", "+0.02{ (one run: no interval)}", "", "{failed: memory}")
    assert interval.head == r"95\,\% interval"
    assert interval.cells == (r"$[-0.05,\;-0.01]$", "", "", "")


def test_marked_numbers_stay_numbers():
    (column,) = make(["0.30", "-0.20", "1,000", "0.10 ± 0.01"], best=(0,), second=(1, 2, 3))
    assert column.cells == (
        r"\bfseries 0.30",
        r"-0.20{\secondbest{$-$0.20}}",
        r"1000{\secondbest{1,000}}",
        r"0.10{\secondbest{0.10}\,$\pm$\,0.01}",
    )


def test_columns_of_text_and_of_ticks_are_no_numbers():
    (column,) = make(["1.a", "2", "beyond the paper"])
    assert (column.specifier, column.cells) == ("l", ("1.a", "2", "beyond the paper"))
    (column,) = make(["yes", ""], ticks=("x",))
    assert (column.specifier, column.cells) == ("c", (r"$\checkmark$", ""))
    frame = pd.DataFrame({"Model": ["1", "2"]})
    assert make_columns(Table(1, "", frame, frame, {}, {}), "Model")[0].specifier == "l", "names may be numbers"
