"""From the name of a data set to its clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from m3ray.config import ReadConfig
from m3ray.data.annotations import Listing
from m3ray.data.demo import CLIPS, make_demo
from m3ray.data.folder import list_folder
from m3ray.data.memento10k import list_memento10k
from m3ray.data.store import Root
from m3ray.data.table import list_table
from m3ray.data.videomem import list_videomem
from m3ray.errors import ConfigError
from m3ray.schema import catalogue_table


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
        return Listing(catalogue_table(make_demo(root, limit or CLIPS, seed, write=write)))
    if source is None:
        raise ConfigError(f"--dataset {dataset} needs --root: the folder or file to read")
    found = LISTERS[dataset](source, read or ReadConfig())
    return found if limit is None else replace(found, table=found.table.slice(0, limit))


def _folder(source: str) -> Listing:
    clips, refused = list_folder(source)
    return Listing(clips, refused=refused)


LISTERS: dict[str, Callable[[str, ReadConfig], Listing]] = {
    "folder": lambda source, _: _folder(source),
    "table": lambda source, _: Listing(list_table(source)),
    "memento10k": list_memento10k,
    "videomem": list_videomem,
}
