"""Rows of scores as tables, CSV and JSON."""

import csv
import io
import json

import pytest

from m3ray.commands.rows import CsvWriter, JsonWriter, TableWriter, as_json, escape_control, format_number, shorten

NAN = float("nan")
GOOD = {"clip_id": "a b.mp4", "score": 0.51234, "low": 0.4, "high": 0.6, "seconds": 1.23, "reason": None}
BAD = {"clip_id": "t.txt", "score": NAN, "low": NAN, "high": NAN, "seconds": 0.0, "reason": "no\x1b[31m video"}
COLUMNS = ["score", "low", "high", "seconds"]


def test_a_table_is_aligned_and_a_failed_clip_has_its_reason():
    stream = io.StringIO()
    writer = TableWriter(stream, COLUMNS, ["a b.mp4", "t.txt"])
    for row in (GOOD, BAD):
        writer.write(row)
    assert stream.getvalue().splitlines() == [
        "clip            score      low     high  seconds",
        "a b.mp4         0.512    0.400    0.600      1.2",
        "t.txt               -  no\\x1b[31m video",
    ]


def test_a_long_name_is_shortened_for_a_terminal_alone():
    name = "folder/" + "x" * 100 + "/end.mp4"
    for wide, expected in ((60, False), (None, True)):
        stream = io.StringIO()
        TableWriter(stream, COLUMNS, [name], wide).write({**GOOD, "clip_id": name})
        lines = stream.getvalue().splitlines()
        assert (name in lines[1]) == expected
        assert wide is None or max(map(len, lines)) <= wide
        assert "end.mp4" in lines[1]


def test_csv_and_json_have_full_numbers_and_nothing_for_what_is_not_known():
    stream = io.StringIO()
    writer = CsvWriter(stream, ["clip_id", *COLUMNS, "reason"])
    writer.write(GOOD)
    writer.write(BAD)
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert float(rows[0]["score"]) == 0.51234
    assert (rows[1]["score"], rows[1]["reason"]) == ("", BAD["reason"])
    stream = io.StringIO()
    writer = JsonWriter(stream, ["clip_id", *COLUMNS, "reason"])
    writer.write(GOOD)
    writer.write(BAD)
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first == GOOD
    assert second == {**BAD, "score": None, "low": None, "high": None}


@pytest.mark.parametrize(("value", "expected"), [(NAN, None), (None, None), ("x", "x"), (1, 1.0)])
def test_values_as_json(value, expected):
    assert as_json(value) == expected


def test_numbers_and_names_as_cells():
    assert format_number("score", NAN) == "      -"
    assert format_number("seconds", 12.34) == "   12.3"
    assert escape_control("a\nb\t\u00e9") == "a\\nb\\t\u00e9"
    assert shorten("abc", 3) == "abc"
    assert len(shorten("abcdefghijklmnop", 10)) == 10
