"""The legend of an evaluation: it names the marks that occur, and no other."""

from dataclasses import replace

import pytest

from m3ray.study.cross_dataset import Evaluation, as_markdown
from m3ray.study.cross_legend import explain_table

ROW = Evaluation("m", "v", "test", False, 200, 0.5, 0.4, 0.6, 0.01)
MARKS = {
    "*italics*": {"own": True},
    "a name and a colon": {"target": "alpha"},
    "% of the ceiling": {"ceiling": 0.8, "share": 0.6, "reliability": 0.7},
    "in brackets its 95 % interval": {"ceiling": 0.8, "share": 0.6, "share_low": 0.5, "share_high": 0.7},
    "undefined: there is no rho": {"spearman": None, "low": None, "high": None},
    "val, where no test clip has a score": {"split": "val"},
    "test of v has 12 clips, and 30 are the fewest": {"clips": 12},
}


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_is_explained_where_it_occurs(mark):
    assert mark not in "\n".join(explain_table([ROW]))
    assert mark in "\n".join(explain_table([ROW, replace(ROW, **MARKS[mark])]))


def test_numbers_are_explained_in_the_order_in_which_they_stand():
    text = "\n".join(explain_table([replace(ROW, ceiling=0.8, share=0.6, reliability=0.7)]))
    places = [text.index(part) for part in ("- rho,", "- [low, high]", "- MSE", "- number of clips", "- N % of")]
    assert places == sorted(places)


def test_where_nothing_is_known_no_number_is_explained():
    text = "\n".join(explain_table([replace(ROW, spearman=None, low=None, high=None, mse=None, clips=1)]))
    assert "MSE" not in text
    assert "interval" not in text
    assert "fewest" not in text


def test_the_file_has_the_legend_below_its_table():
    text = as_markdown([ROW])
    assert text.index("| trained on |") < text.index("How to read it: a row is a bundle")
    assert "*italics*" not in text
