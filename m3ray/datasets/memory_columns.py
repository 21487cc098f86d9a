"""Columns of a user's table that tell what viewers did, under the names that data sets give them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.errors import SchemaError
from m3ray.schema import MEMORY
from m3ray.storage.columns import as_numbers, parse_number

# Not kept under these names: with hits they give the responses, with false alarms the false alarm responses.
MISSES, CORRECT_REJECTIONS = "misses", "correct_rejections"
# Our name of a column to the other names that it is read by; capitals, blanks, dots and underscores do not matter.
ALIASES: dict[str, tuple[str, ...]] = {
    "responses": (
        "n_responses", "num_responses", "nb_responses", "n_resp", "num_resp", "n_annotations", "num_annotations",
        "nb_annotations", "n_viewers", "num_viewers",
    ),
    "hits": ("n_hits", "num_hits", "nb_hits"),
    MISSES: ("n_misses", "num_misses", "nb_misses"),
    "false_alarms": ("n_false_alarms", "num_false_alarms", "nb_false_alarms"),
    CORRECT_REJECTIONS: ("n_correct_rejections", "num_correct_rejections", "nb_correct_rejections"),
    "false_alarm_responses": ("n_false_alarm_responses", "num_false_alarm_responses", "fa_responses"),
    "hit_rate": ("memorability_wo_fa_correction",),
    "false_alarm_rate": ("fa_rate",),
    "corrected": ("corrected_score", "corrected_hit_rate", "memorability_w_fa_correction"),
    "d_prime": (),
    "alpha": ("decay_alpha",),
}  # fmt: skip
# Names so short that they may mean anything; read beside a column of responses, hits or misses alone.
SHORT_ALIASES = {
    "hits": ("h",),
    "false_alarms": ("f", "fa"),
    CORRECT_REJECTIONS: ("cr",),
    "hit_rate": ("hr",),
    "false_alarm_rate": ("far",),
}
_TELLING = ("responses", "hits", MISSES)
_COUNTS = ("responses", "hits", MISSES, "false_alarms", CORRECT_REJECTIONS, "false_alarm_responses")
MAX_COUNT = 10**9  # nobody shows a clip to more viewers
_RATES = ("hit_rate", "false_alarm_rate")
# Of MemCat (Goetschalckx and Wagemans 2019), whose viewers all saw an image twice: both rates are of `n_resp` viewers.
_MEMCAT = ("memorabilitywfacorrection", "memorabilitywofacorrection")
_SEPARATORS = re.compile(r"[^a-z0-9]")


def read_memory_columns(table: pa.Table, rows: np.ndarray) -> tuple[dict[str, pa.ChunkedArray], list[str]]:
    """Read the columns of a user's table that tell what viewers did.

    Args:
        table: the table's columns as they stand.
        rows: number of each row in the file, int64, (rows,).
    Returns:
        Our name of each column of `m3ray.schema.MEMORY` that the table has, or whose values two others add up to, to
        its numbers; null where a cell is empty. Also notes on sums that are another than the total that is given.
    Raises:
        SchemaError: If two columns mean the same, or a cell is no number, a count negative or no whole number, a rate
            outside [0, 1]; the message names row and column.
    """
    sources = find_memory_columns(table.column_names)
    columns = {name: _read_column(table[source], source, name, rows) for name, source in sources.items()}
    notes = [
        *_add_up(columns, "responses", "hits", MISSES, rows),
        *_add_up(columns, "false_alarm_responses", "false_alarms", CORRECT_REJECTIONS, rows),
    ]
    if "false_alarms" in columns and "responses" in columns and _is_memcat(table.column_names):
        columns.setdefault("false_alarm_responses", columns["responses"])
    return {field.name: columns[field.name].cast(field.type) for field in MEMORY if field.name in columns}, notes


def find_memory_columns(names: list[str]) -> dict[str, str]:
    """Find which columns of a table tell what viewers did.

    Args:
        names: names of the table's columns.
    Returns:
        Our name of each, `misses` and `correct_rejections` among them, to its name in the table.
    Raises:
        SchemaError: If two columns mean the same, and none has just our name.
    """
    plain: dict[str, list[str]] = {}
    for name in names:
        plain.setdefault(_SEPARATORS.sub("", name.lower()), []).append(name)
    found = _look_up(names, plain, {own: (own, *others) for own, others in ALIASES.items()})
    if any(name in found for name in _TELLING):
        found = _look_up(names, plain, SHORT_ALIASES) | found
    return found


def _look_up(names: list[str], plain: Mapping[str, list[str]], known: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    found = {}
    for own, others in known.items():
        meant = sorted(
            (name for other in others for name in plain.get(_SEPARATORS.sub("", other), ())), key=names.index
        )
        if own in names:
            found[own] = own
        elif len(meant) > 1:
            raise SchemaError(f"columns {' and '.join(meant)} would both be read as {own}: name the one meant {own}")
        elif meant:
            found[own] = meant[0]
    return found


def _is_memcat(names: list[str]) -> bool:
    return any(_SEPARATORS.sub("", name.lower()) in _MEMCAT for name in names)


def _add_up(columns: dict[str, pa.ChunkedArray], total: str, one: str, other: str, rows: np.ndarray) -> list[str]:
    """Fill a total from its two parts; a line where one that is given is another."""
    if one not in columns or other not in columns:
        return []
    added = pc.add(columns[one], columns[other])
    given = columns.get(total, added)
    columns[total] = pc.coalesce(given, added)
    unequal = np.flatnonzero(pc.fill_null(pc.not_equal(given, added), False).to_numpy())
    if not len(unequal):
        return []
    row = int(unequal[0])
    return [
        f"{total} is another than {one} + {other} in {len(unequal)} rows (row {rows[row]}: {given[row].as_py():g}, "
        f"{added[row].as_py():g}); it stays as given"
    ]


def _read_column(column: pa.ChunkedArray, source: str, name: str, rows: np.ndarray) -> pa.ChunkedArray:
    shown = source if source == name else f"{source} (read as {name})"
    if pa.types.is_integer(column.type):
        column = column.cast(pa.float64(), safe=False)  # those that a float cannot hold are refused below
    numbers = as_numbers(column, source, rows, partial(_parse, shown))
    if name in _COUNTS:
        is_whole = pc.equal(pc.subtract(numbers, pc.floor(numbers)), 0)
        is_count = pc.and_(pc.greater_equal(numbers, 0), is_whole)
        _check(numbers, is_count, shown, rows, "a whole number, 0 or more")
        _check(numbers, pc.less_equal(numbers, MAX_COUNT), shown, rows, f"at most {MAX_COUNT:,} viewers")
    elif name in _RATES:
        inside = pc.and_(pc.greater_equal(numbers, 0), pc.less_equal(numbers, 1))
        _check(numbers, inside, shown, rows, "a share in [0, 1]; divide percentages by 100")
    else:
        _check(numbers, pc.is_finite(numbers), shown, rows, "a finite number")
    return numbers


def _parse(shown: str, text: str, row: int) -> float:
    number = parse_number(text)
    if number is None:
        raise SchemaError(f"row {row}: {shown} {text!r} is not a number; rename the column if it is one of your own")
    return number


def _check(numbers: pa.ChunkedArray, right: pa.ChunkedArray, shown: str, rows: np.ndarray, expected: str) -> None:
    wrong = np.flatnonzero(~pc.fill_null(right, True).to_numpy().astype(bool))
    if len(wrong):
        value = numbers[int(wrong[0])].as_py()
        raise SchemaError(f"row {rows[wrong[0]]}: {shown} is {value:g}, expected {expected}")
