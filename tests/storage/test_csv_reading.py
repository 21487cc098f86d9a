"""CSV files as text: encodings, quotes, empty rows, and what is no table."""

import pytest

from m3ray.errors import SchemaError
from m3ray.storage.csv_reading import read_csv_text


def test_every_cell_is_text_as_it_is_written():
    sheet = read_csv_text(b'uri,id\n"a,1.mp4",007\n\n"b\n2",\n', "clips.csv")
    assert sheet.table.to_pydict() == {"uri": ["a,1.mp4", "b\n2"], "id": ["007", ""]}
    assert (sheet.rows.tolist(), sheet.empty) == ([1, 3], (2,))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_and_line_endings(encoding, end):
    data = f"uri,score{end}é.mp4,0.5{end}".encode(encoding)
    assert read_csv_text(data, "c.csv").table.to_pydict() == {"uri": ["é.mp4"], "score": ["0.5"]}


def test_an_index_and_commas_at_the_end_are_left_out():
    sheet = read_csv_text(b",uri,,\n0,a.mp4,,\n", "c.csv")
    assert sheet.table.to_pydict() == {"uri": ["a.mp4"]}
    assert sheet.notes == ("column 1 has no name and is left out",)


def test_blanks_after_a_comma_may_be_ignored():
    data = b'uri, score\na.mp4, "0.5"\n'
    assert read_csv_text(data, "c.csv", spaced=True).table["score"].to_pylist() == ["0.5"]


def test_a_header_alone_has_no_rows():
    sheet = read_csv_text(b"uri,score\n", "c.csv")
    assert (sheet.table.num_rows, sheet.rows.tolist()) == (0, [])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty; expected names of columns"),
        (b"uri;score\na;1\n", "is separated by semicolons"),
        (b"uri,uri\na,b\n", "names column 'uri' twice"),
        (b"uri,score\na\n", r"row 1 \(line 2\) has 1 cells, the header has 2"),
        (b"uri,score\na,1,2\n", "has 3 cells, the header has 2"),
        (b"uri\n\xff\n", "it is no UTF-8 text"),
        (b'uri,score\n"a,1\n', "cannot be read as CSV"),
    ],
)
def test_what_is_no_table_is_rejected_with_its_row(data, message):
    with pytest.raises(SchemaError, match=f"^clips.csv.*{message}"):
        read_csv_text(data, "clips.csv")
