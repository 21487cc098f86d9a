"""From the name of a data set to its clips."""

from __future__ import annotations

from collections.abc import Callable

from m3ray.data.demo import CLIPS, make_demo
from m3ray.data.folder import list_folder
from m3ray.data.store import Root
from m3ray.data.table import list_table
from m3ray.errors import ConfigError
from m3ray.schema import Clip


def list_clips(root: Root, dataset: str, source: str | None, *, limit: int | None, seed: int) -> list[Clip]:
    """The clips of a data set, the first `limit` of them.

    Args:
        root: where the demo's clips are written.
        dataset: a name of `DATASETS`.
        source: its folder or file; the demo has none.
        limit: None: all.
        seed: of the demo.
    Raises:
        ConfigError: unknown data set, or one without its folder or file.
        SchemaError: nothing there, or an impossible row.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit {limit}: expected at least 1")
    if dataset not in DATASETS:
        raise ConfigError(f"unknown data set {dataset!r}: choose from {', '.join(DATASETS)}")
    return DATASETS[dataset](root, source, limit, seed)


def _demo(root: Root, source: str | None, limit: int | None, seed: int) -> list[Clip]:
    return make_demo(root, limit or CLIPS, seed)


def _listed(lister: Callable[[str], list[Clip]], name: str) -> Callable[..., list[Clip]]:
    def clips(root: Root, source: str | None, limit: int | None, seed: int) -> list[Clip]:
        if source is None:
            raise ConfigError(f"--dataset {name} needs --root: the folder or file to read")
        return lister(source)[:limit]

    return clips


DATASETS: dict[str, Callable[[Root, str | None, int | None, int], list[Clip]]] = {
    "demo": _demo,
    "folder": _listed(list_folder, "folder"),
    "table": _listed(list_table, "table"),
}
