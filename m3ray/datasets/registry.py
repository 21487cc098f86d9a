"""From the name of a data set to its clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import ReadConfig
from m3ray.datasets.demo import CLIPS, make_demo
from m3ray.datasets.folder import read_folder
from m3ray.datasets.listing import Listing
from m3ray.datasets.memento10k import list_memento10k
from m3ray.datasets.table import read_table
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
    """The clips of a data set, the first `limit` of them.

    Args:
        root: where the demo's clips are written.
        dataset: `demo`, or a name of `LISTERS`.
        source: its folder or file; the demo has none.
        limit: None: all.
        seed: of the demo.
        write: False: the demo draws no clip (a dry run).
        read: how a published data set is read.
    Raises:
        ConfigError: unknown data set, or one without its folder or file.
        SchemaError: nothing there, or an impossible row.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit {limit}: expected at least 1")
    if dataset not in ("demo", *LISTERS):
        raise ConfigError(f"unknown data set {dataset!r}: choose from demo, {', '.join(LISTERS)}")
    if dataset == "demo":
        clips = make_demo(root, limit or CLIPS, seed, write=write)
        return Listing(catalogue_table(clips), (_OF_DEMO.format(clips=len(clips)),))
    if source is None:
        raise ConfigError(f"--dataset {dataset} needs --root: the folder or file to read")
    try:
        found = LISTERS[dataset](source, read or ReadConfig())
    except (OSError, ValueError, pa.ArrowException) as error:
        # What the readers did not foresee is still about a file, not about m3ray.
        raise SchemaError(f"--root {source} cannot be read as {dataset}: {one_line(error)}") from error
    if not found.table.num_rows:
        raise SchemaError(f"--root {source} holds no clip: expected at least one")
    return found if limit is None else _first(found, limit)


_OF_DEMO = "demo: {clips} clips that m3ray draws, with scores that it makes up; for videos of yours: --dataset, --root"


def _first(found: Listing, limit: int) -> Listing:
    """The first clips of a listing, and what is said of these alone."""
    table = found.table.slice(0, limit)
    names = set(table["clip_id"].to_pylist())
    refused = found.refused.filter(pc.is_in(found.refused["clip_id"], value_set=table["clip_id"].combine_chunks()))
    return replace(found, table=table, missing=tuple(n for n in found.missing if n in names), refused=refused)


LISTERS: dict[str, Callable[[str, ReadConfig], Listing]] = {
    "folder": lambda source, _: read_folder(source),
    "table": lambda source, _: read_table(source),
    "memento10k": list_memento10k,
    "videomem": list_videomem,
}
