"""Conversion of a user's columns: text, numbers, and what stands for a missing number."""

import numpy as np
import pyarrow as pa
import pytest

from m3ray.errors import SchemaError
from m3ray.storage.columns import (
    Sheet,
    as_numbers,
    as_text,
    check_names,
    is_missing_number,
    is_text,
    parse_number,
    trim_text,
)


def column(*values, kind=None):
    return pa.chunked_array([pa.array(values, kind)])


def test_a_sheet_describes_what_was_skipped():
    sheet = Sheet(pa.table({}), np.array([1, 3]), (2, 4), ("column 1 has no name and is left out",))
    assert sheet.describe_skipped() == (
        "2 empty rows passed over, the first is row 2", "column 1 has no name and is left out",
    )  # fmt: skip
    assert Sheet(pa.table({}), np.array([1])).describe_skipped() == ()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["uri", "x", "x"], "names column 'x' twice"),
        (["uri", "Score"], "has a column 'Score'; the name that is read is 'score'"),
        (["Clip ID", "uri"], "the name that is read is 'clip_id'"),
        (["uri", "label"], "the name that is read is 'labels'"),
    ],
)
def test_repeated_and_misspelled_names_are_rejected(names, message):
    with pytest.raises(SchemaError, match=message):
        check_names(names, "clips.csv")


def test_a_column_of_one_s_own_may_resemble_one_that_is_there():
    check_names(["uri", "labels", "label"], "clips.csv")


def test_whole_numbers_become_digits_and_nan_null():
    assert as_text(column(7, None, 12), "clip_id").to_pylist() == ["7", None, "12"]
    assert as_text(column(7.0, float("nan"), 12.0), "clip_id").to_pylist() == ["7", None, "12"]
    assert as_text(column("a", None), "clip_id").to_pylist() == ["a", None]


@pytest.mark.parametrize(
    ("values", "message"),
    [((7.5,), "7.5 among them"), ((2.0**53,), "9007199254740992.0 among them"), ((True,), "of bool"), (([1],), "list")],
)
def test_what_text_cannot_hold_is_rejected(values, message):
    with pytest.raises(SchemaError, match=message):
        as_text(column(*values), "clip_id")


def test_blanks_around_text_go():
    assert trim_text(column(" a b ", "  ", None)).to_pylist() == ["a b", None, None]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.string(), True), (pa.large_string(), True), (pa.dictionary(pa.int8(), pa.string()), True),
        (pa.int64(), False), (pa.binary(), False), (pa.dictionary(pa.int8(), pa.int64()), False),
    ],
)  # fmt: skip
def test_types_of_text(kind, expected):
    assert is_text(kind) is expected


def test_missing_numbers_in_any_letters():
    assert is_missing_number(column("NaN", "n/a", "None", "", "0", None)).to_pylist()[:5] == [True] * 4 + [False]


@pytest.mark.parametrize(("text", "number"), [("1e-3", 0.001), (" 7 ", 7.0), ("1_000", None), ("x", None), ("", None)])
def test_one_number(text, number):
    assert parse_number(text) == number


def test_a_column_of_numbers():
    rows = np.array([1, 2, 5])

    def parse(text, row):
        if parse_number(text) is None:
            raise SchemaError(f"row {row}: {text}")
        return parse_number(text)

    assert as_numbers(column(" 0.5", "nan", "3"), "score", rows, parse).to_pylist() == [0.5, None, 3.0]
    assert as_numbers(column(1, None, 3), "score", rows, parse).to_pylist() == [1.0, None, 3.0]
    with pytest.raises(SchemaError, match="row 5: high"):
        as_numbers(column("0.5", "1", "high"), "score", rows, parse)
    with pytest.raises(SchemaError, match="score is a column of bool, expected numbers"):
        as_numbers(column(True, False, None), "score", rows, parse)
