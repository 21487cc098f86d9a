"""Columns of a user's file, and their conversion to the types of the schema. No type is guessed from values."""

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

# What other programs write in a column of numbers where a number is missing.
MISSING_NUMBERS = ("", "nan", "na", "n/a", "null", "none")
# The first integer from which on a float64 no longer holds every one.
_MAX_INTEGER = 2.0**53
_SEPARATORS = re.compile(r"[^a-z0-9]")


@dataclass(frozen=True)
class Sheet:
    """Columns of a user's file before the schema settles their types.

    Args:
        table: rows of the file; of a CSV file as text with "" for an empty cell, else of the file's own types.
        rows: number of each row in the file, from 1, where empty rows count too; int64, (rows,).
        empty: numbers of the rows without any text, which are skipped.
        notes: what else was skipped, in words.
    """

    table: pa.Table
    rows: np.ndarray
    empty: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def describe_skipped(self) -> tuple[str, ...]:
        """Describe what was skipped.

        Returns:
            A note for each kind of thing.
        """
        empty = (f"{len(self.empty)} empty rows passed over, the first is row {self.empty[0]}",) if self.empty else ()
        return (*empty, *self.notes)


def check_names(names: Sequence[str], where: str, ours: Iterable[str] = tuple(CATALOGUE.names)) -> None:
    """Check that no name occurs twice, and that none is a misspelling of one of `ours`.

    Args:
        names: names of a file's columns.
        where: the file, for the message.
        ours: names that m3ray reads.
    Raises:
        SchemaError: If one fails the check; the message names the column, and which one it was meant to be.
    """
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise SchemaError(f"{where} names column {repeated[0]!r} twice: rename one, or leave it out")
    for own in ours:
        meant = next((name for name in names if name != own and _is_meant(name, own, names)), None)
        if meant is not None:
            raise SchemaError(
                f"{where} has a column {meant!r}; the name that is read is {own!r}, in just these letters: rename it "
                f"{own}, or otherwise if it is a column of your own"
            )


def _is_meant(name: str, own: str, names: Sequence[str]) -> bool:
    """Whether a name means one of ours: `Score` and `clip id` always, and `label` if there is no `labels`."""
    plain, wanted = (_SEPARATORS.sub("", text.lower()) for text in (name, own))
    return plain == wanted or (own not in names and plain.rstrip("s") == wanted.rstrip("s"))


def as_text(column: pa.ChunkedArray, what: str) -> pa.ChunkedArray:
    """Convert a column to text, integers to their digits.

    Args:
        column: text or whole numbers; NaN is null, as pandas means it.
        what: the column, for the message.
    Returns:
        The column as strings.
    Raises:
        SchemaError: If it holds numbers that may have lost digits (7.5, or beyond 2^53), booleans or lists.
    """
    kind = column.type
    if pa.types.is_floating(kind):
        return _as_integers(column, what).cast(pa.string())
    if pa.types.is_boolean(kind) or pa.types.is_nested(kind):
        raise SchemaError(f"{what} is a column of {kind}, expected text or whole numbers")
    return column.cast(pa.string())


def _as_integers(column: pa.ChunkedArray, what: str) -> pa.ChunkedArray:
    """Restore integers, which pandas turns into floats where a neighbour is empty."""
    numbers = column.cast(pa.float64())
    numbers = pc.if_else(pc.is_nan(numbers), None, numbers)
    doubtful = pc.or_(pc.not_equal(numbers, pc.floor(numbers)), pc.greater_equal(pc.abs(numbers), _MAX_INTEGER))
    if pc.any(doubtful).as_py():
        value = numbers.filter(doubtful)[0].as_py()
        raise SchemaError(
            f"{what} is a column of floating-point numbers ({value!r} among them), which are no names: write it as text"
        )
    return numbers.cast(pa.int64())


def trim_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Remove blanks around texts.

    Args:
        column: texts.
    Returns:
        The texts; null where nothing is left.
    """
    text = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(text, ""), None, text)


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a type holds text, plain or dictionary-encoded.

    Args:
        kind: type of a column.
    Returns:
        Whether it does.
    """
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def as_numbers(
    column: pa.ChunkedArray, name: str, rows: np.ndarray, parse: Callable[[str, int], float | None]
) -> pa.ChunkedArray:
    """Convert a column to numbers.

    Args:
        column: text or numbers.
        name: name of the column.
        rows: number of each row in the file, int64, (rows,).
        parse: called with a text and the number of its row; returns the number, or raises SchemaError if it is none.
    Returns:
        The column as float64; null where it is empty, NaN or one of `MISSING_NUMBERS`.
    Raises:
        SchemaError: If the column holds booleans, lists or times, or `parse` raises it.
    """
    if is_text(column.type):
        column = _parse_numbers(trim_text(column.cast(pa.string())), rows, parse)
    elif pa.types.is_boolean(column.type) or pa.types.is_nested(column.type) or pa.types.is_temporal(column.type):
        raise SchemaError(f"{name} is a column of {column.type}, expected numbers")
    numbers = column.cast(pa.float64())
    return pc.if_else(pc.is_nan(numbers), None, numbers)


def _parse_numbers(
    text: pa.ChunkedArray, rows: np.ndarray, parse: Callable[[str, int], float | None]
) -> pa.ChunkedArray:
    numbers = pc.if_else(is_missing_number(text), None, text)
    try:
        return numbers.cast(pa.float64())
    except pa.ArrowInvalid:
        values = zip(numbers.to_pylist(), rows.tolist(), strict=True)
        return pa.chunked_array([pa.array([None if v is None else parse(v, row) for v, row in values], pa.float64())])


def is_missing_number(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Tell which texts stand for a missing number, in small or capital letters.

    Args:
        text: texts of a column.
    Returns:
        Whether each one does, as booleans; null where there is no text.
    """
    return pc.is_in(pc.utf8_lower(text), pa.array(MISSING_NUMBERS))


def parse_number(text: str) -> float | None:
    """Parse a number.

    Args:
        text: text of a cell.
    Returns:
        The number; None if the text is none.
    """
    try:
        return None if "_" in text else float(text)  # Python accepts 1_000, which is a typing error here
    except ValueError:
        return None
