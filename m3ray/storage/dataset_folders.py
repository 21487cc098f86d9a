"""The folders of a data set, and a clip's path within them, which stays when the data set moves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.storage.filesystems import absolute_uri, is_local, local_path, printable_path

ChangeCheck = Literal["fast", "hash"]
NO_FOLDERS: Mapping[str, str] = MappingProxyType({})
_TABLES = (".csv", ".parquet", ".jsonl")


def dataset_folder(source: str) -> str:
    """Folder of a data set.

    Args:
        source: path or URI of the data set's folder or table.
    Returns:
        The folder, of a table the one that it lies in; a path if it is local, else a URI.
    """
    uri = absolute_uri(source).rstrip("/")
    path = printable_path(local_path(uri)) if is_local(uri) else uri
    return path.rpartition("/")[0] if path.lower().endswith(_TABLES) else path


def relative_paths(texts: pa.ChunkedArray, folder: str) -> pa.ChunkedArray:
    """Paths relative to a folder.

    Args:
        texts: paths or URIs, as large strings.
        folder: path or URI of the folder.
    Returns:
        What follows the folder; null for paths outside it.
    """
    prefix = folder.rstrip("/") + "/"
    return pc.if_else(pc.starts_with(texts, prefix), pc.utf8_slice_codeunits(texts, len(prefix)), None)


@dataclass(frozen=True)
class DatasetOrigin:
    """Where the clips of a data set come from, and how a changed file is detected.

    Args:
        folders: paths or URIs of the data set's folders or table.
        moved: for each of them that has moved, the path or URI at which it was.
        by: how a changed local file is detected: 'fast' by size and time, 'hash' by a hash of its bytes.
    """

    folders: tuple[str | None, ...] = ()
    moved: Mapping[str, str] = field(default_factory=dict)
    by: ChangeCheck = "fast"


UNKNOWN_ORIGIN = DatasetOrigin()


def canonical_folders(origin: DatasetOrigin, earlier: Mapping[str, str]) -> dict[str, str]:
    """Map every spelling of a data set's folders to one canonical path each.

    The canonical path of a folder is its real path, so that a link to the folder counts as the folder itself; of a
    folder that the user declared as moved it is the path that it had.

    Args:
        origin: where the clips of the data set come from.
        earlier: canonical folders that an earlier call returned.
    Returns:
        Each spelling to its canonical path.
    """
    canonical: dict[str, str] = {}
    for source in filter(None, origin.folders):
        folder, before = dataset_folder(source), origin.moved.get(source)
        spellings = [folder, _real_path(folder)]
        name = earlier.get(spellings[-1], spellings[-1])
        if before is not None:
            old = dataset_folder(before)
            name = earlier.get(_real_path(old), _real_path(old))
            spellings += [old, _real_path(old)]
        canonical |= dict.fromkeys(spellings, name)
    return canonical


def _real_path(folder: str) -> str:
    return os.path.realpath(folder) if folder.startswith("/") else folder
