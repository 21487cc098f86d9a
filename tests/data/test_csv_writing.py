"""Text that a spreadsheet would run as a formula is text in every CSV; numbers stay numbers."""

import io

import numpy as np
import pandas as pd
import pytest

from m3ray.data.csv_text import read_csv_text
from m3ray.data.csv_writing import as_text_cell, csv_bytes


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
    assert lines == ["'=name,delta,count,kind,mixed", "'=1+1,-0.25,-3,'@x,-4", "plain,,,b,'-x"]
    assert "=name" in frame.columns, "the caller's table is its own"
    assert frame["=name"][0] == "=1+1"


def test_m3ray_s_own_reader_reads_what_is_written():
    """Text comes back with the apostrophe: a CSV for people is no source of ids."""
    sheet = read_csv_text(csv_bytes(pd.DataFrame({"clip_id": ["-a.mp4", 'b,"c'], "x": [-1.5, 2.0]})), "a.csv")
    assert sheet.table.to_pydict() == {"clip_id": ["'-a.mp4", 'b,"c'], "x": ["-1.5", "2.0"]}
