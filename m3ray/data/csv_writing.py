"""CSV for people and their spreadsheets: text that a spreadsheet would run as a formula is written as text."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

# What OWASP's page on CSV injection lists, the full-width forms of the signs among them.
_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """A table as CSV, UTF-8, without its index; names of columns are text like any other.

    A text cell that a spreadsheet would take for a formula gets an apostrophe before it, so it is not the text that was
    given: whoever needs ids and labels as they are reads the Parquet file beside it.
    """
    plain = frame.copy()
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            plain[name] = frame[name].map(as_text_cell)
    return plain.rename(columns=as_text_cell).to_csv(index=False).encode()


def as_text_cell(value: Any) -> Any:
    """`value`, with an apostrophe before text that begins like a formula; a number, as text too, is none."""
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value
