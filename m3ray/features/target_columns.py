"""Columns of the catalogue that a study is about: what it predicts, and how many viewers were behind that."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.datasets.duplicates import number_sources
from m3ray.datasets.groups import choose_group
from m3ray.errors import ConfigError
from m3ray.features.target import SCORE, TARGETS
from m3ray.storage.root import Root
from m3ray.storage.root_record import read_record

# Target to the column with the number of viewers behind it, where that is another one than `responses`.
_COUNTS = {"false_alarm_rate": "false_alarm_responses"}
_RESPONSES = "responses"

TARGETS_TABLE = 6
_PAPER = {1, 2, 3, 4}


def name_target(option: str) -> str:
    """Column of the catalogue that a choice of `--target` is about.

    Args:
        option: The choice.
    Returns:
        Its own name; `score` for `short` and `long`, one of which the data set's reader puts there.
    """
    return SCORE if option in ("short", "long") else option


def choose_target(root: Root, option: str | None) -> str:
    """Choose what a study on a root predicts.

    Args:
        root: Root that holds the features.
        option: The choice of `--target`; None: none was made.
    Returns:
        Column of the catalogue: the one asked for, else the one that the root was made for, else `score`.
    """
    record = read_record(root) if option is None else None
    return name_target(option or (record.settings.get("target") if record else None) or SCORE)


def list_targets(catalogue: pa.Table) -> list[str]:
    """List what a study on a catalogue can predict.

    Args:
        catalogue: Clips and their columns.
    Returns:
        The targets that have values, in the order in which a table shows them.
    """
    return [n for n in TARGETS if n in catalogue.column_names and catalogue[n].null_count < catalogue.num_rows]


def check_columns(catalogue: pa.Table, target: str, weigh: str, where: str) -> None:
    """Check that a catalogue has what is to be predicted, and what clips are to weigh.

    Args:
        catalogue: Clips and their columns.
        target: Column that is to be predicted.
        weigh: `responses` or `none`.
        where: What the catalogue is of, for the message.
    Raises:
        ConfigError: If a column is missing or empty; the message lists those that can be had.
    """
    held = list_targets(catalogue)
    if target != SCORE and target not in held:
        state = "has no value" if target in catalogue.column_names else "is missing"
        raise ConfigError(f"--target {target}: the column {state}: {where} has {', '.join(held) or 'no score at all'}")
    column = _COUNTS.get(target, _RESPONSES)
    if weigh == "responses" and (
        column not in catalogue.column_names or catalogue[column].null_count == catalogue.num_rows
    ):
        raise ConfigError(
            f"--weigh responses: {where} does not say how many viewers each clip had: give a column {column}, or leave "
            "--weigh out"
        )


def read_responses(catalogue: pa.Table, ids: Sequence[str], target: str) -> np.ndarray | None:
    """Number of viewers behind a target.

    Args:
        catalogue: Clips and their columns.
        ids: Ids of N clips.
        target: Column that is to be predicted.
    Returns:
        The numbers, (N,), float64, not a number where they are unknown; None where nobody counted.
    """
    return read_numbers(catalogue, ids, _COUNTS.get(target, _RESPONSES))


def read_numbers(catalogue: pa.Table, ids: Sequence[str], column: str) -> np.ndarray | None:
    """Read an optional column of numbers.

    Args:
        catalogue: Clips and their columns.
        ids: Ids of N clips.
        column: Name of the column.
    Returns:
        The numbers, (N,), float64, not a number where a clip has none; None where the column is missing or empty.
    """
    if column not in catalogue.column_names or catalogue[column].null_count == catalogue.num_rows:
        return None
    return catalogue[column].cast(pa.float64()).to_numpy()[_find_ids(catalogue, ids)]


def read_groups(
    catalogue: pa.Table, ids: Sequence[str], group: str | None, root: Root | None = None
) -> np.ndarray | None:
    """Number the sources of clips, of which no two splits may share one.

    Args:
        catalogue: Clips and their columns.
        ids: Ids of N clips.
        group: Value of `--group`: a column whose equal values are one source, or near duplicates.
        root: Root that has the clips' near duplicates; None: none does.
    Returns:
        A number for each source, (N,), int64; a clip without a value is a source of its own. None: all are.
    Raises:
        ConfigError: If the catalogue lacks the column.
    """
    column = choose_group(group, catalogue.column_names).column
    if column is not None and column not in catalogue.column_names:
        raise ConfigError(f"--group {column}: there is no such column: choose from {', '.join(catalogue.column_names)}")
    numbers = number_sources(root, catalogue, group)
    return None if numbers is None else numbers[_find_ids(catalogue, ids)]


def _find_ids(catalogue: pa.Table, ids: Sequence[str]) -> np.ndarray:
    names = catalogue["clip_id"].combine_chunks().cast(pa.string())
    return pc.index_in(pa.array(ids, pa.string()), value_set=names).to_numpy()


def list_study_targets(catalogue: pa.Table, own: str) -> list[str]:
    """List the targets of Table 6.

    Args:
        catalogue: Clips and their columns.
        own: Target of the study.
    Returns:
        All that have values, the study's own among them; none where it is the only one, or the others are its copies.
    """
    held = list_targets(catalogue)
    columns = {name: catalogue[name].cast(pa.float64()).to_numpy() for name in held}
    different = [name for name in held if name == own or not _is_same(columns[name], columns.get(own))]
    return different if len(different) > 1 else []


def _is_same(values: np.ndarray, own: np.ndarray | None) -> bool:
    """Whether a column repeats the study's own, as a hit rate does that is the score."""
    return own is not None and bool(np.allclose(values, own, rtol=0, atol=1e-6, equal_nan=True))


def list_crossed_targets(catalogue: pa.Table, own: str, tables: Sequence[int], where: str) -> list[str]:
    """List the targets that a study is to cross with its models.

    Args:
        catalogue: Clips and their columns.
        own: Target of the study.
        tables: Numbers of the tables that were asked for: 6, or all of the paper's, which it stands beside.
        where: What the catalogue is of, for the message.
    Returns:
        The targets; none where no Table 6 is to be made.
    Raises:
        ConfigError: If Table 6 was asked for, and there is nothing else to predict.
    """
    targets = list_study_targets(catalogue, own)
    if TARGETS_TABLE in tables and not targets:
        raise ConfigError(
            f"--tables {TARGETS_TABLE}: {where} has nothing but {', '.join(list_targets(catalogue))} to predict: give "
            "a table with hits, responses, false_alarms, false_alarm_responses, or alpha (docs/datasets.md)"
        )
    return targets if TARGETS_TABLE in tables or set(tables) >= _PAPER else []
