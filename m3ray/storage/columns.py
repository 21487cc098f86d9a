"""Columns as a user's file has them, and the types that the schema gives them. Nothing is guessed from values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.errors import SchemaError
from m3ray.schema import CATALOGUE

# What other programs write in a column of numbers where there is none.
NO_NUMBER = ("", "nan", "na", "n/a", "null", "none")
# A float64 holds every integer up to here.
_WHOLE = 2.0**53
_PARTS = re.compile(r"[^a-z0-9]")


@dataclass(frozen=True)
class Sheet:
    """A file's columns before the schema settles their types.

    Args:
        table: CSV: text alone, "" for an empty cell; else as the file says.
        rows: the number of each row in the file, from 1, empty ones counted; int64, (rows,).
        empty: the numbers of the rows without any text, which are passed over.
        notes: what else was passed over, in words.
    """

    table: pa.Table
    rows: np.ndarray
    empty: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def said(self) -> tuple[str, ...]:
        """What was passed over, in words."""
        empty = (f"{len(self.empty)} empty rows passed over, the first is row {self.empty[0]}",) if self.empty else ()
        return (*empty, *self.notes)


def check_names(names: Sequence[str], where: str, ours: Iterable[str] = tuple(CATALOGUE.names)) -> None:
    """Refuses names that stand twice, and those that were meant to be one of `ours`.

    Raises:
        SchemaError: names the column, and which one it was meant to be.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SchemaError(f"{where} names column {twice[0]!r} twice: rename one, or leave it out")
    for own in ours:
        meant = next((name for name in names if name != own and _is_meant(name, own, names)), None)
        if meant is not None:
            raise SchemaError(
                f"{where} has a column {meant!r}; the name that is read is {own!r}, in just these letters: rename it "
                f"{own}, or otherwise if it is a column of your own"
            )


def _is_meant(name: str, own: str, names: Sequence[str]) -> bool:
    """`Score` and `clip id` always; `label`, one of many, where there is no `labels`."""
    plain, wanted = (_PARTS.sub("", text.lower()) for text in (name, own))
    return plain == wanted or (own not in names and plain.rstrip("s") == wanted.rstrip("s"))


def as_text(column: pa.ChunkedArray, what: str) -> pa.ChunkedArray:
    """A column as text, integers as their digits; NaN is null, as pandas means it.

    Raises:
        SchemaError: numbers that text cannot hold without a doubt (7.5, or beyond 2^53), booleans, lists.
    """
    kind = column.type
    if pa.types.is_floating(kind):
        return _whole(column, what).cast(pa.string())
    if pa.types.is_boolean(kind) or pa.types.is_nested(kind):
        raise SchemaError(f"{what} is a column of {kind}, expected text or whole numbers")
    return column.cast(pa.string())


def _whole(column: pa.ChunkedArray, what: str) -> pa.ChunkedArray:
    """What pandas made floats of, since a neighbour was empty, as the integers that they were."""
    numbers = column.cast(pa.float64())
    numbers = pc.if_else(pc.is_nan(numbers), None, numbers)
    doubtful = pc.or_(pc.not_equal(numbers, pc.floor(numbers)), pc.greater_equal(pc.abs(numbers), _WHOLE))
    if pc.any(doubtful).as_py():
        value = numbers.filter(doubtful)[0].as_py()
        raise SchemaError(
            f"{what} is a column of floating-point numbers ({value!r} among them), which are no names: write it as text"
        )
    return numbers.cast(pa.int64())


def trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text without spaces around it, null where nothing is left."""
    text = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(text, ""), None, text)


def is_text(kind: pa.DataType) -> bool:
    """Whether a type holds text, plain or by dictionary."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def as_numbers(
    column: pa.ChunkedArray, name: str, rows: np.ndarray, parse: Callable[[str, int], float | None]
) -> pa.ChunkedArray:
    """A column as float64, null where it is empty, NaN or one of `NO_NUMBER`.

    Args:
        column: text or numbers.
        name: of it.
        rows: their numbers in the file.
        parse: of one text and its row; raises the SchemaError for what is no number.
    """
    if is_text(column.type):
        column = _parsed(trimmed(column.cast(pa.string())), rows, parse)
    elif pa.types.is_boolean(column.type) or pa.types.is_nested(column.type) or pa.types.is_temporal(column.type):
        raise SchemaError(f"{name} is a column of {column.type}, expected numbers")
    numbers = column.cast(pa.float64())
    return pc.if_else(pc.is_nan(numbers), None, numbers)


def _parsed(text: pa.ChunkedArray, rows: np.ndarray, parse: Callable[[str, int], float | None]) -> pa.ChunkedArray:
    numbers = pc.if_else(lacks_number(text), None, text)
    try:
        return numbers.cast(pa.float64())
    except pa.ArrowInvalid:
        values = zip(numbers.to_pylist(), rows.tolist(), strict=True)
        return pa.chunked_array([pa.array([None if v is None else parse(v, row) for v, row in values], pa.float64())])


def lacks_number(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which texts stand for no number, in whichever case; null where there is no text."""
    return pc.is_in(pc.utf8_lower(text), pa.array(NO_NUMBER))


def number_of(text: str) -> float | None:
    """A number that is written as one; None for anything else."""
    try:
        return None if "_" in text else float(text)  # Python's own 1_000 is a slip of the pen here
    except ValueError:
        return None
