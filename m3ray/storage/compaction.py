"""Compaction of a folder of shards: few files of a good size, each clip in one of them.

A merge writes the new shard before it deletes the old ones, and names it after its clips. Wherever it is cut off,
readers, which take one row a clip, miss and double nothing, and the same merge tried again ends what was begun.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.storage.parquet_tables import drop_repeated_clips, m3ray_metadata, shard_name
from m3ray.storage.root import Root
from m3ray.storage.versions import merge_metadata

A = TypeVar("A")
B = TypeVar("B")

# Large enough that ten million clips are hundreds of files, small enough that memory holds a few merges.
TARGET_BYTES = 128 << 20
# Of one call that reads ids: seconds of round trips on S3, so that a task of its own pays.
_SHARDS_PER_READ = 512
_REQUESTS = 16  # at once, a process: a shard in S3 is a round trip or two, and a merge reads dozens


class RunEach(Protocol):
    """Calls a function of each item, all of which may run at once and in other processes."""

    def __call__(self, function: Callable[[A], B], items: Sequence[A], /) -> Iterable[B]:
        """Call the function of each item.

        Args:
            function: can be pickled, as can items and results; may be called again of an item whose call was cut off.
            items: what it is called of.
        Returns:
            The results, in any order.
        """
        ...


@dataclass(frozen=True)
class Merge:
    """Shards that are to become one.

    Args:
        names: file names of the shards.
        target: file name of the shard that holds the clips of all of them.
    """

    names: tuple[str, ...]
    target: str


def compact(root: Root, *folder: str, without: pa.ChunkedArray | None = None, run_each: RunEach = map) -> None:
    """Merge small shards, and leave each clip in one shard.

    Files that are large already are not touched, unless they hold a clip to drop. New files are written before old
    ones are deleted, and readers take one row a clip: a crash in between loses nothing.

    Args:
        root: root that holds the folder.
        *folder: parts of its path.
        without: ids of clips to drop; None for none.
        run_each: runs the reads of ids and the merges; by default one after the other in this process.
    """
    _drop(root, folder, without)
    ids = _read_ids(root, folder, run_each)
    if _drop_repeats(root, folder, ids):
        ids = _read_ids(root, folder, run_each)
    for _ in run_each(
        partial(merge_shards, root, folder), plan_merges(root.list_sizes(*folder, suffix=".parquet"), ids)
    ):
        pass


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


def plan_merges(sizes: Mapping[str, int], ids: Mapping[str, pa.ChunkedArray]) -> list[Merge]:
    """Group small shards that together make a large one.

    Args:
        sizes: file name of each shard of a folder to its size, bytes.
        ids: file name of each shard to the ids of its clips.
    Returns:
        The merges; no shard is in two of them.
    """
    return [Merge(tuple(names), _name_target([ids[name] for name in names])) for names in _groups(sizes)]


def _name_target(ids: Sequence[pa.ChunkedArray]) -> str:
    """File name of the shard that has a row for each of these clips."""
    return shard_name(pa.chunked_array([_concatenate(ids).unique()]))


def _groups(sizes: Mapping[str, int]) -> Iterator[list[str]]:
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


def merge_shards(root: Root, folder: Sequence[str], merge: Merge) -> None:
    """Merge shards into one, whose metadata names what all of them were computed with.

    Called again after it was cut off, it ends what was begun: where the new shard is, old ones are deleted alone.

    Args:
        root: root that holds the folder.
        folder: parts of its path.
        merge: shards to merge.
    Raises:
        FileNotFoundError: If a shard is gone that was not merged.
        LostLockError: If another job holds the root's lock.
        OSError: If the storage failed.
    """
    if not root.exists(*folder, merge.target):
        tables = _run_at_once(partial(_read_shard, root, folder), merge.names)
        metadata = merge_metadata([m3ray_metadata(table.schema) for table in tables])
        table = drop_repeated_clips(pa.concat_tables(tables, promote_options="default"))
        del tables  # each step copies the rows: one copy less at the peak
        root.write_shard(table, folder, metadata)
    _delete_shards(root, folder, set(merge.names) - {merge.target})


def _read_shard(root: Root, folder: Sequence[str], name: str) -> pa.Table:
    return root.read_table(*folder, name)


def _delete_shards(root: Root, folder: Sequence[str], names: Iterable[str]) -> None:
    """Delete shards, of which a call that was cut off may have deleted some."""

    def delete(name: str) -> None:
        with suppress(FileNotFoundError):
            root.delete(*folder, name)

    _run_at_once(delete, sorted(names))


def _run_at_once(function: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """Results of a few requests at once; nothing of them runs any more when one has failed."""
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(function, items))


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


def _read_ids(root: Root, folder: tuple[str, ...], run_each: RunEach) -> dict[str, pa.ChunkedArray]:
    """File name of each shard to the ids of its clips, by name."""
    names = root.list_names(*folder, suffix=".parquet")
    parts = [names[start : start + _SHARDS_PER_READ] for start in range(0, len(names), _SHARDS_PER_READ)]
    results = run_each(partial(_read_ids_of, root, folder), parts)
    return dict(sorted(itertools.chain.from_iterable(part.items() for part in results)))


def _read_ids_of(root: Root, folder: Sequence[str], names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    return dict(zip(names, _run_at_once(partial(_read_shard_ids, root, folder), names), strict=True))


def _read_shard_ids(root: Root, folder: Sequence[str], name: str) -> pa.ChunkedArray:
    return root.read_table(*folder, name, columns=["clip_id"])["clip_id"].cast(pa.string())


def _drop_repeats(root: Root, folder: tuple[str, ...], shards: Mapping[str, pa.ChunkedArray]) -> bool:
    """Drop repeated clips: a task that was retried may have committed the same clips in other shards.

    Returns:
        Whether there were any.
    """
    everything = _concatenate(list(shards.values()))
    if pc.count_distinct(everything).as_py() == len(everything):
        return False
    ends = np.cumsum([len(ids) for ids in shards.values()])[:-1]
    keep_rows(root, folder, dict(zip(shards, np.split(_is_first_of_clip(everything), ends), strict=True)))
    return True


def _concatenate(ids: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for part in ids for chunk in part.chunks], pa.string())


def _is_first_of_clip(ids: pa.ChunkedArray) -> np.ndarray:
    """Whether each row is the first of its clip."""
    rows = pa.table({"clip_id": ids, "row": np.arange(len(ids))})
    first = rows.group_by("clip_id").aggregate([("row", "min")])["row_min"].to_numpy()
    keep = np.zeros(len(ids), dtype=bool)
    keep[first] = True
    return keep
