"""Where a clip lies within its data set: what stays when the whole of it moves, or is reached through a link."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.storage.filesystems import absolute_uri, as_text, is_local, local_path

By = Literal["fast", "hash"]
NOWHERE: Mapping[str, str] = MappingProxyType({})
_TABLES = (".csv", ".parquet", ".jsonl")


def folder_of(home: str) -> str:
    """The folder of a data set, a table's own; a path where it is local."""
    uri = absolute_uri(home).rstrip("/")
    path = as_text(local_path(uri)) if is_local(uri) else uri
    return path.rpartition("/")[0] if path.lower().endswith(_TABLES) else path


def within(texts: pa.ChunkedArray, folder: str) -> pa.ChunkedArray:
    """What follows the folder, null where it lies elsewhere."""
    prefix = folder.rstrip("/") + "/"
    return pc.if_else(pc.starts_with(texts, prefix), pc.utf8_slice_codeunits(texts, len(prefix)), None)


@dataclass(frozen=True)
class Origin:
    """Where the clips of a data set come from, and by what they are known.

    Args:
        folders: its folders or table.
        moved: of those that have moved, where each was.
        by: `fast` or `hash`: how a changed local file is known.
    """

    folders: tuple[str | None, ...] = ()
    moved: Mapping[str, str] = field(default_factory=dict)
    by: By = "fast"


UNKNOWN = Origin()


def known_homes(origin: Origin, earlier: Mapping[str, str]) -> dict[str, str]:
    """The folders of a data set, however they are spelled, to the one path under which its clips are known.

    A folder is known by its real path, so that a link to it is the same and one that leads elsewhere is not; and, once
    it was said to have moved, by the path that it had.

    Args:
        origin: of the data set.
        earlier: what an earlier call gave.
    """
    found: dict[str, str] = {}
    for home in filter(None, origin.folders):
        folder, before = folder_of(home), origin.moved.get(home)
        places = [folder, _real(folder)]
        known = earlier.get(places[-1], places[-1])
        if before is not None:
            old = folder_of(before)
            known = earlier.get(_real(old), _real(old))
            places += [old, _real(old)]
        found |= dict.fromkeys(places, known)
    return found


def _real(folder: str) -> str:
    return os.path.realpath(folder) if folder.startswith("/") else folder
