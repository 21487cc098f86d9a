"""Keeping a folder of shards tidy: few files of a good size, each clip in one of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.storage.root import Root, metadata_of, one_row_a_clip
from m3ray.storage.versions import united

# Large enough that ten million clips are hundreds of files, small enough that a merge fits in memory a few times.
GOOD_BYTES = 128 << 20


def compact(root: Root, *folder: str, without: pa.ChunkedArray | None = None) -> None:
    """Merges small shards, and leaves each clip in one of them.

    Files that are large already are not touched, unless they hold a clip that is to go. New files are written
    before old ones go, and readers take one row a clip: a crash between loses nothing.

    Args:
        root: holds the folder.
        folder: parts of its path.
        without: clips to leave out.
    """
    _drop(root, folder, without)
    _drop_repeats(root, folder)
    for names in _groups(root.sizes(*folder, suffix=".parquet")):
        _merge(root, folder, names)


def replace_rows(root: Root, table: pa.Table, folder: Sequence[str], metadata: Mapping[str, Any]) -> None:
    """Commits a shard, after the rows that its clips had went: those were computed from something else."""
    _drop(root, tuple(folder), table["clip_id"])
    root.write_shard(table, folder, metadata)


def replace_shards(root: Root, table: pa.Table, folder: Sequence[str], metadata: Mapping[str, Any]) -> None:
    """Commits a shard, and then takes all others out of its folder."""
    _replace(root, tuple(folder), root.names(*folder, suffix=".parquet"), table, dict(metadata))


def _groups(sizes: dict[str, int]) -> Iterator[list[str]]:
    """Small files that together make a large one."""
    group: list[str] = []
    total = 0
    for name in sorted(name for name, size in sizes.items() if size < GOOD_BYTES // 2):
        group.append(name)
        total += sizes[name]
        if total >= GOOD_BYTES:
            yield group
            group, total = [], 0
    if len(group) > 1:
        yield group


def _merge(root: Root, folder: tuple[str, ...], names: list[str]) -> None:
    """One shard of several; it says of all of them what they were computed with."""
    tables = [root.read_table(*folder, name) for name in names]
    metadata = united([metadata_of(table.schema) for table in tables])
    _replace(root, folder, names, one_row_a_clip(pa.concat_tables(tables, promote_options="default")), metadata)


def _replace(root: Root, folder: tuple[str, ...], names: list[str], table: pa.Table, metadata: dict) -> None:
    written = os.path.basename(root.write_shard(table, folder, metadata)) if table.num_rows else ""
    for name in set(names) - {written}:
        root.delete(*folder, name)


def keep_rows(root: Root, folder: tuple[str, ...], masks: Mapping[str, np.ndarray]) -> None:
    """Rewrites the shards of which not all rows stay.

    Args:
        root: holds the folder.
        folder: parts of its path.
        masks: name of a shard to whether each of its rows stays.
    """
    for name, keep in masks.items():
        if not keep.all():
            table = root.read_table(*folder, name)
            _replace(root, folder, [name], table.filter(pa.array(keep)), metadata_of(table.schema))


def _drop(root: Root, folder: tuple[str, ...], without: pa.ChunkedArray | None) -> None:
    if without is not None and len(without):
        shards = root.ids_by_shard(*folder)
        keep_rows(root, folder, {name: ~pc.is_in(ids, value_set=without).to_numpy() for name, ids in shards.items()})


def _drop_repeats(root: Root, folder: tuple[str, ...]) -> None:
    """A task that was retried may have committed the same clips in shards cut otherwise."""
    shards = root.ids_by_shard(*folder)
    everything = pa.chunked_array([chunk for ids in shards.values() for chunk in ids.chunks], pa.string())
    if pc.count_distinct(everything).as_py() == len(everything):
        return
    ends = np.cumsum([len(ids) for ids in shards.values()])[:-1]
    keep_rows(root, folder, dict(zip(shards, np.split(_first_of_each(everything), ends), strict=True)))


def _first_of_each(ids: pa.ChunkedArray) -> np.ndarray:
    """Whether each row is the first of its clip."""
    rows = pa.table({"clip_id": ids, "row": np.arange(len(ids))})
    first = rows.group_by("clip_id").aggregate([("row", "min")])["row_min"].to_numpy()
    keep = np.zeros(len(ids), dtype=bool)
    keep[first] = True
    return keep
