"""Compaction of a folder of shards: few files of a good size, each clip in one of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.storage.parquet_tables import drop_repeated_clips, m3ray_metadata
from m3ray.storage.root import Root
from m3ray.storage.versions import merge_metadata

# Large enough that ten million clips are hundreds of files, small enough that memory holds a few merges.
TARGET_BYTES = 128 << 20


def compact(root: Root, *folder: str, without: pa.ChunkedArray | None = None) -> None:
    """Merge small shards, and leave each clip in one shard.

    Files that are large already are not touched, unless they hold a clip to drop. New files are written before old
    ones are deleted, and readers take one row a clip: a crash in between loses nothing.

    Args:
        root: root that holds the folder.
        *folder: parts of its path.
        without: ids of clips to drop; None for none.
    """
    _drop(root, folder, without)
    _drop_repeats(root, folder)
    for names in _groups(root.list_sizes(*folder, suffix=".parquet")):
        _merge(root, folder, names)


def replace_rows(root: Root, table: pa.Table, folder: Sequence[str], metadata: Mapping[str, Any]) -> None:
    """Commit a shard after dropping the rows that its clips had, since those were computed from another content.

    Args:
        root: root that holds the folder.
        table: new rows with `clip_id`.
        folder: parts of the folder's path.
        metadata: JSON values to keep in the shard's schema.
    """
    _drop(root, tuple(folder), table["clip_id"])
    root.write_shard(table, folder, metadata)


def replace_shards(root: Root, table: pa.Table, folder: Sequence[str], metadata: Mapping[str, Any]) -> None:
    """Commit a shard, and then delete all others of its folder.

    Args:
        root: root that holds the folder.
        table: new rows with `clip_id`.
        folder: parts of the folder's path.
        metadata: JSON values to keep in the shard's schema.
    """
    _replace(root, tuple(folder), root.list_names(*folder, suffix=".parquet"), table, dict(metadata))


def _groups(sizes: dict[str, int]) -> Iterator[list[str]]:
    """Group small files that together make a large one."""
    group: list[str] = []
    total = 0
    for name in sorted(name for name, size in sizes.items() if size < TARGET_BYTES // 2):
        group.append(name)
        total += sizes[name]
        if total >= TARGET_BYTES:
            yield group
            group, total = [], 0
    if len(group) > 1:
        yield group


def _merge(root: Root, folder: tuple[str, ...], names: list[str]) -> None:
    """Merge shards into one, whose metadata names what all of them were computed with."""
    tables = [root.read_table(*folder, name) for name in names]
    metadata = merge_metadata([m3ray_metadata(table.schema) for table in tables])
    _replace(root, folder, names, drop_repeated_clips(pa.concat_tables(tables, promote_options="default")), metadata)


def _replace(root: Root, folder: tuple[str, ...], names: list[str], table: pa.Table, metadata: dict[str, Any]) -> None:
    written = os.path.basename(root.write_shard(table, folder, metadata)) if table.num_rows else ""
    for name in set(names) - {written}:
        root.delete(*folder, name)


def keep_rows(root: Root, folder: tuple[str, ...], masks: Mapping[str, np.ndarray]) -> None:
    """Rewrite the shards that lose rows.

    Args:
        root: root that holds the folder.
        folder: parts of its path.
        masks: file name of each shard to whether its rows stay, bool, (rows,).
    """
    for name, keep in masks.items():
        if not keep.all():
            table = root.read_table(*folder, name)
            _replace(root, folder, [name], table.filter(pa.array(keep)), m3ray_metadata(table.schema))


def _drop(root: Root, folder: tuple[str, ...], without: pa.ChunkedArray | None) -> None:
    if without is not None and len(without):
        shards = root.read_ids_by_shard(*folder)
        keep_rows(root, folder, {name: ~pc.is_in(ids, value_set=without).to_numpy() for name, ids in shards.items()})


def _drop_repeats(root: Root, folder: tuple[str, ...]) -> None:
    """Drop repeated clips: a task that was retried may have committed the same clips in other shards."""
    shards = root.read_ids_by_shard(*folder)
    everything = pa.chunked_array([chunk for ids in shards.values() for chunk in ids.chunks], pa.string())
    if pc.count_distinct(everything).as_py() == len(everything):
        return
    ends = np.cumsum([len(ids) for ids in shards.values()])[:-1]
    keep_rows(root, folder, dict(zip(shards, np.split(_is_first_of_clip(everything), ends), strict=True)))


def _is_first_of_clip(ids: pa.ChunkedArray) -> np.ndarray:
    """Whether each row is the first of its clip."""
    rows = pa.table({"clip_id": ids, "row": np.arange(len(ids))})
    first = rows.group_by("clip_id").aggregate([("row", "min")])["row_min"].to_numpy()
    keep = np.zeros(len(ids), dtype=bool)
    keep[first] = True
    return keep
