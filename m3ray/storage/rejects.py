"""The table of rejects in a root: every clip that could not be processed, and why."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.schema import LISTING, REJECTS
from m3ray.storage.compaction import compact
from m3ray.storage.fault_codes import is_transient_reject
from m3ray.storage.root import Root

REJECTS_FOLDER = ("rejects",)
NO_CLIP_IDS = pa.chunked_array([], pa.string())


def read_rejects(root: Root) -> pa.Table:
    """Read the table of rejects.

    Args:
        root: root that holds it.
    Returns:
        One row a clip with the columns of `m3ray.schema.REJECTS`; those that an older version did not write are null.
    """
    table = root.read_shards(*REJECTS_FOLDER)
    rows = REJECTS.empty_table() if table is None else table
    for column in REJECTS:
        if column.name not in rows.column_names:
            rows = rows.append_column(column, pa.nulls(rows.num_rows, column.type))
    return rows.select(REJECTS.names)


def read_rejected_ids(root: Root, *, permanent: bool = False) -> pa.ChunkedArray:
    """Read which clips are rejected.

    Args:
        root: root that holds the rejects.
        permanent: whether to leave out clips whose reason says nothing of the clip itself, such as a storage that did
            not answer; the next job tries those again.
    Returns:
        Clip ids.
    """
    table = root.read_shards(*REJECTS_FOLDER, columns=["clip_id", "uri", "stage", "error", "message"])
    if table is None:
        return NO_CLIP_IDS
    return table.filter(pc.invert(is_transient_reject(table)))["clip_id"] if permanent else table["clip_id"]


def read_listing_rejects(root: Root) -> pa.ChunkedArray:
    """Read which clips the listing rejected: they stay so even where a job retries rejects.

    Args:
        root: root that holds the rejects.
    Returns:
        Clip ids.
    """
    table = root.read_shards(*REJECTS_FOLDER, columns=["clip_id", "stage"])
    return NO_CLIP_IDS if table is None else table.filter(pc.equal(table["stage"], LISTING))["clip_id"]


def replace_listing_rejects(root: Root, rejects: pa.Table) -> None:
    """Make these clips the ones that the listing rejects; those that it rejected before and now accepts go.

    Args:
        root: root that holds the rejects.
        rejects: rows with the columns of `m3ray.schema.REJECTS`, whose stage is the listing.
    """
    earlier = read_listing_rejects(root)
    compact(root, *REJECTS_FOLDER, without=earlier.filter(pc.invert(pc.is_in(earlier, rejects["clip_id"]))))
    if rejects.num_rows:
        root.write_shard(rejects, REJECTS_FOLDER, {})
