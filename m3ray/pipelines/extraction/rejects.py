"""Rejects of an extraction, reported and counted: permanent ones, and those that only the storage failed."""

from __future__ import annotations

import logging

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.errors import M3RayError
from m3ray.storage.fault_codes import is_transient_reject
from m3ray.storage.rejects import REJECTS_FOLDER
from m3ray.storage.root import Root

logger = logging.getLogger(__name__)

_MAX_REASONS = 8
_MAX_MESSAGE = 160


def split_rejects(root: Root, ids: pa.ChunkedArray) -> tuple[pa.Table, pa.Table]:
    """Split the rejects of some clips into permanent and transient ones.

    Args:
        root: Root that holds the rejects.
        ids: Ids of the clips.
    Returns:
        The permanent rejects, and those that only the storage failed, which the next job tries again; a row a clip.
    """
    table = root.read_shards(*REJECTS_FOLDER)
    if table is None:
        empty = pa.table({name: pa.array([], pa.string()) for name in ("clip_id", "stage", "error", "message")})
        return empty, empty
    table = table.filter(pc.is_in(table["clip_id"], value_set=ids))
    is_transient = is_transient_reject(table)
    return table.filter(pc.invert(is_transient)), table.filter(is_transient)


def select_accepted_ids(ids: pa.ChunkedArray, *rejects: pa.Table) -> pa.ChunkedArray:
    """Select the clips that were not rejected.

    Args:
        ids: Ids of the clips.
        *rejects: Tables of rejects.
    Returns:
        The ids that are in none of the tables.
    """
    for table in rejects:
        ids = ids.filter(pc.invert(pc.is_in(ids, value_set=table["clip_id"].cast(ids.type))))
    return ids


def report_rejects(permanent: pa.Table, transient: pa.Table) -> None:
    """Log the most frequent reasons of rejects.

    Args:
        permanent: Rejects that are not tried again.
        transient: Rejects that only the storage failed.
    """
    if permanent.num_rows:
        logger.info(f"rejects: {permanent.num_rows} clips, most frequent reasons:")
        for line in format_reasons(permanent):
            logger.info(f"  {line}")
    if transient.num_rows:
        logger.warning(
            f"storage: {transient.num_rows} clips could not be read; the next run tries them again by itself:"
        )
        for line in format_reasons(transient):
            logger.info(f"  {line}")


def format_reasons(rejects: pa.Table) -> list[str]:
    """Format the most frequent reasons of rejects.

    Args:
        rejects: A table of rejects.
    Returns:
        A line a reason: number of clips, stage, error, and the first clip with its message.
    """
    groups = rejects.group_by(["stage", "error"], use_threads=False)
    counts = groups.aggregate([([], "count_all"), ("clip_id", "first"), ("message", "first")])
    rows = counts.sort_by([("count_all", "descending")]).slice(0, _MAX_REASONS).to_pylist()
    return [
        f"{row['count_all']:>6}  {row['stage']}: {row['error']}  e.g. {row['clip_id_first']!r}: "
        f"{row['message_first'][:_MAX_MESSAGE]}"
        for row in rows
    ]


def check_rejects(root: Root, rejected: int, max_rejects: int, table: pa.Table | None = None) -> None:
    """Check that no more clips are rejected than allowed.

    Args:
        root: Root that holds the rejects.
        rejected: Number of rejected clips; those that only the storage failed are not counted.
        max_rejects: Number of clips that may be rejected.
        table: Rejects that the reasons in the message are taken from; None takes all permanent ones of the root.
    Raises:
        M3RayError: If more clips are rejected.
    """
    if rejected <= max_rejects:
        return
    if table is None:
        rejects = root.read_shards(*REJECTS_FOLDER)
        table = None if rejects is None else rejects.filter(pc.invert(is_transient_reject(rejects)))
    lines = [] if table is None else format_reasons(table)[:3]
    reasons = "; ".join(" ".join(line.split()) for line in lines)
    raise M3RayError(
        f"{rejected} clips are rejected, more than the {max_rejects} of --max-rejects ({reasons}): "
        f"{root.display(*REJECTS_FOLDER)} says why for each; mend them and run again with --retry-rejects, or raise "
        "--max-rejects"
    )
