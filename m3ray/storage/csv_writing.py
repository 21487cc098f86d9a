"""CSV for people and their spreadsheets: text that a spreadsheet would run as a formula is written as text."""

from __future__ import annotations

import csv
import re
from typing import Any

import pandas as pd

# What OWASP's page on CSV injection lists, with the signs' full-width and small forms and the minus of typesetting.
_SIGN = r"[=+\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212]"
# What an importer drops, or nobody sees: blanks of any width, characters without one, and a quote.
_UNSEEN = r"[^\S\t\r\n]|[\"\u00ad\u180e\u200b-\u200f\u2060-\u2064\ufeff]"
_FORMULA = re.compile(rf"[\t\r\n]|(?:{_UNSEEN})*{_SIGN}")
# An importer set to another separator than ours splits inside our quotes: to it, they begin in the middle of a field.
_NEXT_FORMULA = re.compile(rf"([;|\t\r\n])(?=(?:{_UNSEEN})*{_SIGN})")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """A table as CSV, UTF-8, without its index; names of columns are text like any other.

    Text is quoted, numbers are bare, a missing value is an empty text. Text that a spreadsheet would take for a formula
    gets an apostrophe before it, so it is not the text that was given: whoever needs ids and labels as they are reads
    the Parquet file beside it.
    """
    plain = frame.copy()
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            plain[name] = frame[name].map(as_text_cell)
    # Readers that keep to RFC 4180 split no quoted text at a comma.
    return plain.rename(columns=as_text_cell).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC).encode()


def as_text_cell(value: Any) -> Any:
    """`value`, with an apostrophe before text that begins like a formula; a number, as text too, is none.

    As well after a semicolon, a tab, a bar and a line's end in it, where the cell of another importer may begin.
    """
    if not isinstance(value, str) or _NUMBER.fullmatch(value.strip(" ")):
        return value
    text = _NEXT_FORMULA.sub(r"\1'", value)
    if _FORMULA.match(value):
        return f"'{text}"
    return text if text != value else value
