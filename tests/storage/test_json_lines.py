"""JSON lines: numbers as they are written, lists of labels, and what is no object."""

import pytest

from m3ray.errors import SchemaError
from m3ray.storage.json_lines import read_json_lines


def test_ids_keep_all_their_digits():
    data = b'{"clip_id": 12345678901234567890, "uri": "a", "score": 0.10}\n\n{"clip_id": 7.0, "uri": "b"}\n'
    sheet = read_json_lines(data, "c.jsonl")
    assert sheet.table.to_pydict() == {
        "clip_id": ["12345678901234567890", "7"], "uri": ["a", "b"], "score": ["0.10", None],
    }  # fmt: skip
    assert (sheet.rows.tolist(), sheet.empty) == ([1, 3], (2,))


def test_labels_are_lists_or_text_with_bars():
    data = b'{"labels": ["a ", 3]}\n{"labels": "b| c |"}\n{"labels": null}\n'
    assert read_json_lines(data, "c.jsonl").table["labels"].to_pylist() == [["a", "3"], ["b", "c"], []]


def test_columns_of_the_user_s_own_keep_their_types():
    data = b'{"n": 1, "x": 0.5, "mixed": 1}\n{"n": 2, "x": NaN, "mixed": "a"}\n'
    table = read_json_lines(data, "c.jsonl").table
    assert table["n"].to_pylist() == [1, 2]
    assert table["x"].to_pylist() == [0.5, None]
    assert table["mixed"].to_pylist() == ["1", "a"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[1]\n", r"row 1 is '\[1\]'; expected one object a line"),
        (b"{\n", "row 1 is no JSON"),
        (b'{"uri": "a", "uri": "b"}\n', "occurs twice in an object"),
        (b'{"uri": "a", " uri": "b"}\n', "an object names 'uri' twice"),
        (b'{"clip_id": [1]}\n', r"row 1: clip_id is \[1\], expected text or a number"),
        (b'{"uri": "\xff"}\n', "it is no UTF-8 text"),
    ],
)
def test_what_is_no_table_is_rejected_with_its_row(data, message):
    with pytest.raises(SchemaError, match=message):
        read_json_lines(data, "c.jsonl")
