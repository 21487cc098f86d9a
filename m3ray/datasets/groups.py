"""Groups of clips that are of one source, a film or an uploader say, so that no model is judged on what it learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.errors import ConfigError, SchemaError
from m3ray.storage.columns import trim_text

# What m3ray itself decides or predicts is no source.
_NO_SOURCES = ("split", "score", "labels")
DUPLICATES = "duplicates"
"""What `--group` calls near duplicates, unless the catalogue has a column of that name."""


@dataclass(frozen=True)
class GroupChoice:
    """What `--group` asks to keep on one side.

    Args:
        column: Column of the catalogue that names each clip's source; None: none does.
        duplicates: Whether near duplicates stay together.
    """

    column: str | None = None
    duplicates: bool = False


def choose_group(group: str | None, columns: list[str]) -> GroupChoice:
    """Tell a column from near duplicates: a column's own name comes first.

    Args:
        group: Value of `--group`: a column, `duplicates`, or `COLUMN,duplicates`.
        columns: Columns of the catalogue.
    Returns:
        The choice; a column that is not there is returned as it was given.
    """
    if group is None or group in columns:
        return GroupChoice(group)
    column, comma, ending = group.rpartition(",")
    return GroupChoice(column if comma else None, True) if ending == DUPLICATES else GroupChoice(group)


def number_groups(column: pa.ChunkedArray) -> np.ndarray:
    """Number the groups of clips.

    Args:
        column: the group of each clip, text or a number; null, NaN and empty text are clips without one.
    Returns:
        Equal numbers for clips of one group, another one for each clip without; int64, (N,).
    """
    names = name_groups(column)
    groups = pc.index_in(names, pc.unique(names.drop_null())).to_numpy()
    without = np.isnan(groups) if groups.dtype.kind == "f" else np.zeros(len(groups), bool)
    numbers = np.where(without, 0, groups).astype(np.int64)
    numbers[without] = np.arange(without.sum()) + (numbers[~without].max(initial=-1) + 1)
    return numbers


def name_groups(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Name the group of each clip.

    Args:
        column: the group of each clip, text or a number.
    Returns:
        Its text, blanks around it removed; null for a clip without one.
    """
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    return trim_text(column.cast(pa.string()))


def join_numbers(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Join two ways to number clips: clips that either gives one number, directly or through others, share one.

    Args:
        one: number of each clip, from 0, such as that of its video; int64, (N,).
        other: another number of each, such as that of its group.
    Returns:
        Numbers from 0, int64, (N,).
    """
    joined = _lowest(one, one)
    while True:
        further = _lowest(_lowest(joined, other), one)
        if np.array_equal(further, joined):
            return np.unique(joined, return_inverse=True)[1].astype(np.int64)
        joined = further


def _lowest(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The lowest value of all clips that share a number."""
    lowest = np.full(numbers.max(initial=-1) + 1, np.iinfo(np.int64).max)
    np.minimum.at(lowest, numbers, values)
    return lowest[numbers]


def check_groups(clips: pa.Table, group: str | None) -> tuple[str, ...]:
    """Check that the column of `--group` is there, and that no given split has one of its groups on two sides.

    Args:
        clips: the catalogue's columns and the user's; `split` is null where it is still to be drawn.
        group: name of the column; None: clips are not grouped.
    Returns:
        A line for the user that counts the groups; none where clips are not grouped.
    Raises:
        ConfigError: If there is no such column, or its values cannot be names.
        SchemaError: If given splits divide a group; the message names it and two of its clips.
    """
    if (group := choose_group(group, clips.column_names).column) is None:
        return ()
    if group not in clips.column_names or group in _NO_SOURCES:
        columns = ", ".join(name for name in clips.column_names if name not in _NO_SOURCES)
        raise ConfigError(f"--group {group}: expected a column that names each clip's source; there are {columns}")
    if pa.types.is_nested(clips[group].type):
        raise ConfigError(f"--group {group}: a column of {clips[group].type}; expected one name or number a clip")
    names = name_groups(clips[group])
    _check_given_splits(clips, names, group)
    sizes = pc.value_counts(names.drop_null()).field("counts") if len(names) > names.null_count else None
    largest = "" if sizes is None else f", the largest of {pc.max(sizes).as_py()} clips"
    without = f"; {names.null_count} clips without one, each on its own" if names.null_count else ""
    return (f"groups: {0 if sizes is None else len(sizes)} by {group}{largest}{without}",)


def _check_given_splits(clips: pa.Table, names: pa.ChunkedArray, group: str) -> None:
    given = pa.table({"group": names, "split": clips["split"], "clip_id": clips["clip_id"]}).drop_null()
    sides = given.group_by("group").aggregate([("split", "count_distinct")])
    divided = sides.filter(pc.greater(sides["split_count_distinct"], 1))["group"]
    if not len(divided):
        return
    rows = given.filter(pc.equal(given["group"], divided[0])).to_pylist()
    one, other = rows[0], next(row for row in rows if row["split"] != rows[0]["split"])
    raise SchemaError(
        f"--group {group}: the given splits put {len(divided)} of {sides.num_rows} groups on two sides: "
        f"{one['group']!r} has {one['clip_id']} in {one['split']} and {other['clip_id']} in {other['split']}; leave "
        "the splits out, so that they are drawn by group, or leave out --group"
    )
