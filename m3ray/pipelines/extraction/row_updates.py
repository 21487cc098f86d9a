"""Rows of a feature folder whose clips changed: copied from clips of the same content, or dropped."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.datasets.known_contents import resolve_contents
from m3ray.pipelines.extraction.clip_comparison import Folder, match_ids
from m3ray.schema import CONTENT
from m3ray.storage.compaction import keep_rows
from m3ray.storage.contents import content_hashes, is_same_content
from m3ray.storage.parquet_tables import m3ray_metadata
from m3ray.storage.root import Root
from m3ray.storage.shard_stamps import read_stamps_by_shard


def copy_rows(root: Root, folder: Folder, targets: pa.Table, known_contents: pa.Table | None = None) -> None:
    """Copy rows to clips of the same content; a clip whose source is gone meanwhile is left to be computed.

    Args:
        root: Root that holds the folder.
        folder: Path of a tier's feature folder.
        targets: Columns `clip_id` and `content` of the clips that get a row.
        known_contents: Contents known of clips, from `read_known_contents`; None if nothing is known.
    """
    remaining = targets
    for name, stamps in read_stamps_by_shard(root, *folder).items():
        contents = content_hashes(resolve_contents(stamps, known_contents)[CONTENT])
        if pc.any(pc.is_in(contents, value_set=content_hashes(remaining[CONTENT]).drop_null())).as_py():
            # The shard is read anew: one of just these clips may have been written over it.
            shard = _add_content_column(root.read_table(*folder, name))
            copied, sources = match_ids(
                content_hashes(remaining[CONTENT]), content_hashes(resolve_contents(shard, known_contents)[CONTENT])
            )
            if len(copied):
                rows = _assign_clips(shard.take(sources), remaining.take(copied))
                root.write_shard(rows, folder, m3ray_metadata(shard.schema))
            remaining = remaining.take(np.setdiff1d(np.arange(remaining.num_rows), copied))


def _add_content_column(shard: pa.Table) -> pa.Table:
    if CONTENT in shard.column_names:
        return shard
    return shard.append_column(CONTENT, pa.nulls(shard.num_rows, pa.string()))


def _assign_clips(rows: pa.Table, clips: pa.Table) -> pa.Table:
    for name in ("clip_id", CONTENT):
        rows = rows.set_column(rows.column_names.index(name), name, clips[name].cast(pa.string()))
    return rows


def drop_stale_rows(root: Root, folder: Folder, clips: pa.Table, known_contents: pa.Table | None = None) -> None:
    """Drop the rows of clips that were computed from another content than these have now.

    Args:
        root: Root that holds the folder.
        folder: Path of a tier's feature folder.
        clips: Columns `clip_id` and `content`: content stamps as they are now.
        known_contents: Contents known of clips, from `read_known_contents`; None if nothing is known.
    """
    masks = {}
    for name, stamps in read_stamps_by_shard(root, *folder).items():
        rows = resolve_contents(stamps, known_contents)
        row_indices, clip_indices = match_ids(rows["clip_id"], clips["clip_id"])
        now, then = clips[CONTENT].take(clip_indices), rows[CONTENT].take(row_indices)
        masks[name] = np.ones(rows.num_rows, bool)
        masks[name][row_indices] = is_same_content(now, then)
    keep_rows(root, folder, masks)
