"""Writing of CSV files that are safe to open in a spreadsheet: no text of theirs runs as a formula."""

from __future__ import annotations

import csv
import re
from typing import Any

import pandas as pd

# The signs of OWASP's page on CSV injection, with their full-width and small forms and the typographic minus.
_SIGN = r"[=+\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212]"
# What importers drop or nobody sees: blanks of any width, characters without width, and a quote.
_UNSEEN = r"[^\S\t\r\n]|[\"\u00ad\u180e\u200b-\u200f\u2060-\u2064\ufeff]"
_FORMULA = re.compile(rf"[\t\r\n]|(?:{_UNSEEN})*{_SIGN}")
# An importer that is set to another separator splits inside our quotes, which to it begin in the middle of a field.
_NEXT_FORMULA = re.compile(rf"([;|\t\r\n])(?=(?:{_UNSEEN})*{_SIGN})")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """Encode a table as CSV without its index.

    Text is quoted, numbers are not, and a missing value is an empty text. Text that a spreadsheet would take for a
    formula gets an apostrophe before it and is therefore not the original text: whoever needs ids and labels unchanged
    reads the Parquet file beside it.

    Args:
        frame: table to encode; names of columns are treated like any other text.
    Returns:
        The file in UTF-8.
    """
    plain = frame.copy()
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            plain[name] = frame[name].map(as_text_cell)
    # Readers that follow RFC 4180 do not split quoted text at a comma.
    return plain.rename(columns=as_text_cell).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC).encode()


def as_text_cell(value: Any) -> Any:
    """Put an apostrophe before text that begins like a formula.

    So too after a semicolon, tab, bar or line end within it, where another importer may begin a cell.

    Args:
        value: value of a cell.
    Returns:
        The value to write; a number, even one written as text, stays as it is.
    """
    if not isinstance(value, str) or _NUMBER.fullmatch(value.strip(" ")):
        return value
    text = _NEXT_FORMULA.sub(r"\1'", value)
    if _FORMULA.match(value):
        return f"'{text}"
    return text if text != value else value
