"""From the name of a data set to its clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import ReadConfig
from m3ray.datasets.demo import CLIPS, make_demo
from m3ray.datasets.figrim import list_figrim
from m3ray.datasets.folder import read_folder
from m3ray.datasets.groups import check_groups
from m3ray.datasets.lamem import list_lamem
from m3ray.datasets.listing import Listing
from m3ray.datasets.memcat import list_memcat
from m3ray.datasets.memento10k import list_memento10k
from m3ray.datasets.memory_measures import complete_memory
from m3ray.datasets.table import read_table
from m3ray.datasets.things import list_things
from m3ray.datasets.videomem import list_videomem
from m3ray.errors import ConfigError, SchemaError
from m3ray.schema import catalogue_table
from m3ray.storage.filesystems import one_line
from m3ray.storage.root import Root


def list_clips(
    root: Root,
    dataset: str,
    source: str | None,
    *,
    limit: int | None,
    seed: int,
    write: bool = True,
    read: ReadConfig | None = None,
) -> Listing:
    """List the clips of a data set, or the first `limit` of them.

    Args:
        root: root that the demo's clips are written to; other data sets do not use it.
        dataset: `demo`, or a name of `LISTERS`.
        source: folder or file of the data set; None for the demo, which has none.
        limit: largest number of clips; None lists all.
        seed: seed that the demo's clips are drawn with.
        write: whether the demo's clips are written; False in a dry run.
        read: how a published data set is read; None takes the defaults.
    Returns:
        The clips, at least one, with what follows from their viewers' hits and false alarms, and what the user is told.
    Raises:
        ConfigError: If the data set is unknown, lacks its folder or file, or the column that clips are grouped by.
        SchemaError: If there is nothing to list, a row is impossible, or a given split divides a group.
    """
    listing = _list_as_given(root, dataset, source, limit, seed, write, read or ReadConfig())
    table, memory_notes = complete_memory(listing.table)
    notes = (*(f"{dataset}: {note}" for note in memory_notes), *check_groups(table, read.group if read else None))
    return replace(listing, table=table, notes=(*listing.notes, *notes))


def _list_as_given(
    root: Root, dataset: str, source: str | None, limit: int | None, seed: int, write: bool, read: ReadConfig
) -> Listing:
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit {limit}: expected at least 1")
    if dataset not in ("demo", *LISTERS):
        raise ConfigError(f"unknown data set {dataset!r}: choose from demo, {', '.join(LISTERS)}")
    if dataset == "demo":
        clips = make_demo(root, limit or CLIPS, seed, write=write)
        return Listing(catalogue_table(clips), (_DEMO_NOTE.format(clips=len(clips)),))
    if read.media != "all" and dataset != "folder":
        raise ConfigError(f"--media {read.media}: chooses among the files of a folder, and --dataset is {dataset}")
    if source is None:
        raise ConfigError(f"--dataset {dataset} needs --root: the folder or file to read")
    try:
        listing = LISTERS[dataset](source, read)
    except (OSError, ValueError, pa.ArrowException) as error:
        # What the readers did not foresee is still about a file, not about m3ray.
        raise SchemaError(f"--root {source} cannot be read as {dataset}: {one_line(error)}") from error
    if not listing.table.num_rows:
        raise SchemaError(f"--root {source} holds no clip: expected at least one")
    return listing if limit is None else _limit_listing(listing, limit)


_DEMO_NOTE = (
    "demo: {clips} clips that m3ray draws, with scores that it makes up; for videos of yours: --dataset, --root"
)


def _limit_listing(listing: Listing, limit: int) -> Listing:
    """The first clips of a listing, with what is said of these alone."""
    table = listing.table.slice(0, limit)
    names = set(table["clip_id"].to_pylist())
    in_table = pc.is_in(listing.rejected["clip_id"], value_set=table["clip_id"].combine_chunks())
    missing = tuple(name for name in listing.missing if name in names)
    return replace(listing, table=table, missing=missing, rejected=listing.rejected.filter(in_table))


LISTERS: dict[str, Callable[[str, ReadConfig], Listing]] = {
    "folder": lambda source, read: read_folder(source, read.media),
    "table": lambda source, _: read_table(source),
    "memento10k": list_memento10k,
    "videomem": list_videomem,
    "lamem": list_lamem,
    "memcat": list_memcat,
    "figrim": list_figrim,
    "things": list_things,
}
PUBLISHED = tuple(name for name in LISTERS if name not in ("folder", "table"))
"""Data sets that are read as they are given out."""
