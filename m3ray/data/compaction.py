"""Keeping a folder of shards tidy: few files of a good size, each clip in one of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.data.store import Root, one_row_a_clip

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
    metadata = root.shard_metadata(*folder)
    tables = [root.read_table(*folder, name) for name in names]
    _replace(root, folder, names, one_row_a_clip(pa.concat_tables(tables, promote_options="default")), metadata)


def _replace(root: Root, folder: tuple[str, ...], names: list[str], table: pa.Table, metadata: dict) -> None:
    written = os.path.basename(root.write_shard(table, folder, metadata)) if table.num_rows else ""
    for name in set(names) - {written}:
        root.delete(*folder, name)


def _drop(root: Root, folder: tuple[str, ...], without: pa.ChunkedArray | None) -> None:
    if without is None or not len(without):
        return
    metadata = root.shard_metadata(*folder)
    for name in root.names(*folder, suffix=".parquet"):
        table = root.read_table(*folder, name)
        kept = table.filter(pc.invert(pc.is_in(table["clip_id"], without)))
        if kept.num_rows < table.num_rows:
            _replace(root, folder, [name], kept, metadata)


def _drop_repeats(root: Root, folder: tuple[str, ...]) -> None:
    """A task that was retried may have committed the same clips in shards cut otherwise."""
    shards = root.ids_by_shard(*folder)
    everything = pa.chunked_array([chunk for ids in shards.values() for chunk in ids.chunks], pa.string())
    if pc.count_distinct(everything).as_py() == len(everything):
        return
    metadata = root.shard_metadata(*folder)
    ends = np.cumsum([len(ids) for ids in shards.values()])[:-1]
    for name, keep in zip(shards, np.split(_first_of_each(everything), ends), strict=True):
        if not keep.all():
            _replace(root, folder, [name], root.read_table(*folder, name).filter(pa.array(keep)), metadata)


def _first_of_each(ids: pa.ChunkedArray) -> np.ndarray:
    """Whether each row is the first of its clip."""
    rows = pa.table({"clip_id": ids, "row": np.arange(len(ids))})
    first = rows.group_by("clip_id").aggregate([("row", "min")])["row_min"].to_numpy()
    keep = np.zeros(len(ids), dtype=bool)
    keep[first] = True
    return keep
