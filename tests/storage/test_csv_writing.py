"""Text that a spreadsheet would run as a formula is text in every CSV; numbers stay numbers."""

import csv
import io

import numpy as np
import pandas as pd
import pytest

from m3ray.storage.csv_reading import read_csv_text
from m3ray.storage.csv_writing import as_text_cell, csv_bytes


# The signs that OWASP's "CSV Injection" names, each as an attack begins with it.
@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_every_sign_that_begins_a_formula_is_quoted(sign):
    text = f'{sign}HYPERLINK("https://example.org","x")'
    assert as_text_cell(text) == f"'{text}"
    (found,) = pd.read_csv(io.BytesIO(csv_bytes(pd.DataFrame({"label": [text]}))), lineterminator="\n")["label"][:1]
    assert found.startswith("'")


@pytest.mark.parametrize("text", ["", "beach", "a=b", "3-4", "-0.5", "+1e-3", "-12", "'=1", "M3-S, unfrozen", None, -3])
def test_other_cells_stay_as_they_are(text):
    assert as_text_cell(text) is text


@pytest.mark.parametrize("text", ["-1+cmd|' /C calc'!A0", "+0.1000 [+0.0500, +0.1500]", "-", "--5", "-1e", "-\u0661"])
def test_what_only_begins_like_a_number_is_quoted(text):
    assert as_text_cell(text) == f"'{text}"


def test_numbers_columns_and_missing_values():
    frame = pd.DataFrame(
        {
            "=name": ["=1+1", "plain"],
            "delta": [-0.25, np.nan],
            "count": pd.array([-3, None], dtype="Int64"),
            "kind": pd.Categorical(["@x", "b"]),
            "mixed": [-4, "-x"],
        }
    )
    lines = csv_bytes(frame).decode().splitlines()
    assert lines == [
        """"'=name","delta","count","kind","mixed\"""",
        """"'=1+1",-0.25,-3,"'@x",-4""",
        """"plain","","","b","'-x\"""",
    ]
    assert "=name" in frame.columns, "the caller's table is its own"
    assert frame["=name"][0] == "=1+1"


SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"


@pytest.mark.parametrize("before", [" ", "  ", "\u200b", "\ufeff", "\xa0", "\u3000", "\u2060 ", '"', ""])
@pytest.mark.parametrize("sign", SIGNS)
def test_unseen_characters_and_other_forms_of_the_signs(before, sign):
    assert as_text_cell(f"{before}{sign}1+cmd|' /C calc'!A0") == f"'{before}{sign}1+cmd|' /C calc'!A0"


@pytest.mark.parametrize(
    "text",
    [
        'x;=HYPERLINK("http://x")',
        "a;=cmd|x",
        "x\t=1",
        "a,=1",
        "x; =1",
        "x;\u200b=1",
        'x;"=1',
        "x;;=1",
        "x\r\n=1",
        "x\n@1",
        "x|=1",
        '=a;"=1";+1',
    ],
)
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_no_importer_s_separator_uncovers_a_formula(text, separator):
    """Python's reader goes on after a closing quote as spreadsheets do."""
    written = csv_bytes(pd.DataFrame({"id": ["a", "b"], "label": [text, "x"], "n": [1.5, -2]})).decode()
    for row in csv.reader(io.StringIO(written, newline=""), delimiter=separator):
        for cell in row:
            assert cell.strip(' "\u200b')[:1] not in (*SIGNS, "\t") or cell == "-2.0", cell


@pytest.mark.parametrize("text", ["a; b", "a;3", "x = y; z", "beach, sea", " -3 ", "a,=1"])
def test_harmless_separators_stay(text):
    assert as_text_cell(text) is text


def test_types_of_numbers_stay_bare():
    frame = pd.DataFrame(
        {
            "f": np.array([0.5, 1], np.float32),
            "i": pd.array([1, 2], dtype="Int64"),
            "b": [True, False],
            "o": pd.Series([1.5, 2.5], dtype=object),
            "np": pd.Series([np.float64(0.25), np.float32(3)], dtype=object),
            "t": ["1", "x"],
        }
    )
    assert csv_bytes(frame).decode().splitlines() == [
        '"f","i","b","o","np","t"',
        '0.5,1,True,1.5,0.25,"1"',
        '1.0,2,False,2.5,3.0,"x"',
    ]


def test_m3ray_s_own_reader_reads_what_is_written():
    """Text comes back with the apostrophe: a CSV for people is no source of ids."""
    sheet = read_csv_text(csv_bytes(pd.DataFrame({"clip_id": ["-a.mp4", 'b,"c'], "x": [-1.5, 2.0]})), "a.csv")
    assert sheet.table.to_pydict() == {"clip_id": ["'-a.mp4", 'b,"c'], "x": ["-1.5", "2.0"]}
