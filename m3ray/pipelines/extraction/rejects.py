"""What became of the clips that were not computed: those rejected, and those that wait for the storage."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.console import say
from m3ray.errors import M3RayError
from m3ray.storage.fault_codes import are_passing
from m3ray.storage.root import Root
from m3ray.storage.tier_index import REJECTS

_REASONS = 8
_SHOWN = 160


def parted(root: Root, ids: pa.ChunkedArray) -> tuple[pa.Table, pa.Table]:
    """The rejects of some clips: those that are settled, and those that wait for the storage, each a row a clip."""
    table = root.read_shards(*REJECTS)
    if table is None:
        empty = pa.table({name: pa.array([], pa.string()) for name in ("clip_id", "stage", "error", "message")})
        return empty, empty
    table = table.filter(pc.is_in(table["clip_id"], value_set=ids))
    waiting = are_passing(table)
    return table.filter(pc.invert(waiting)), table.filter(waiting)


def accepted(ids: pa.ChunkedArray, *rejects: pa.Table) -> pa.ChunkedArray:
    """Those of `ids` that stand in none of some tables of rejects."""
    for table in rejects:
        ids = ids.filter(pc.invert(pc.is_in(ids, value_set=table["clip_id"].cast(ids.type))))
    return ids


def tell_rejects(settled: pa.Table, waiting: pa.Table) -> None:
    """Says why clips were rejected, and apart from them which wait for the storage."""
    if settled.num_rows:
        say(f"rejects: {settled.num_rows} clips, most frequent reasons:")
        for line in reasons(settled):
            say(f"  {line}")
    if waiting.num_rows:
        say(f"storage: {waiting.num_rows} clips could not be read; the next run tries them again by itself:")
        for line in reasons(waiting):
            say(f"  {line}")


def reasons(rejects: pa.Table) -> list[str]:
    """The most frequent reasons, a line each: how many, where, why, and one of them."""
    groups = rejects.group_by(["stage", "error"], use_threads=False)
    found = groups.aggregate([([], "count_all"), ("clip_id", "first"), ("message", "first")])
    rows = found.sort_by([("count_all", "descending")]).slice(0, _REASONS).to_pylist()
    return [
        f"{row['count_all']:>6}  {row['stage']}: {row['error']}  e.g. {row['clip_id_first']!r}: "
        f"{row['message_first'][:_SHOWN]}"
        for row in rows
    ]


def check_rejects(root: Root, rejected: int, most: int, table: pa.Table | None = None) -> None:
    """Raises M3RayError, with the reasons, where more clips were rejected than may be.

    Args:
        root: holds the rejects.
        rejected: clips; those that wait for the storage not counted.
        most: from `most_rejects`.
        table: the rejects that the reasons are taken from; None: all that the root holds.
    """
    if rejected <= most:
        return
    if table is None:
        held = root.read_shards(*REJECTS)
        table = None if held is None else held.filter(pc.invert(are_passing(held)))
    why = "; ".join(" ".join(line.split()) for line in (reasons(table) if table is not None else [])[:3])
    raise M3RayError(
        f"{rejected} clips are rejected, more than the {most} of --max-rejects ({why}): {root.display(*REJECTS)} says "
        "why for each; mend them and run again with --retry-rejects, or raise --max-rejects"
    )
