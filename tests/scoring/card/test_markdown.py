"""Pieces of Markdown."""

import pytest

from m3ray.scoring.card.markdown import escape_cell, format_interval, format_number, join_paragraphs, make_table


def test_text_cannot_break_out_of_a_cell():
    assert escape_cell("a|b\nc\r\n| d") == r"a\|b c \| d"
    assert make_table(("x", "y"), [("1", "2|3")]).splitlines() == ["| x | y |", "| --- | --- |", r"| 1 | 2\|3 |"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "undefined"), (0.0, "0.0000"), (0.12345, "0.1235"), (-0.00098765, "-0.000988"), (1e-7, "1e-07")],
)
def test_numbers_have_the_digits_that_tell(value, text):
    assert format_number(value) == text


def test_intervals_are_unknown_where_an_end_is():
    assert format_interval(0.1, 0.2) == "0.1000 to 0.2000"
    assert format_interval(None, 0.2) == "unknown"


def test_empty_paragraphs_are_left_out():
    assert join_paragraphs(["a", "", "b"]) == "a\n\nb"
