"""The stamps beside features: which content of a clip each row was computed from, and each fit was fitted on."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from m3ray.schema import CONTENT, feature_names
from m3ray.storage.contents import is_same_content
from m3ray.storage.root import Root

_READERS = 16
_SEPARATOR = " | "
# The texts of ten million clips are more than 2 GiB, which is all that `string` holds.
_STAMPS = pa.schema([("clip_id", pa.string()), (CONTENT, pa.large_string())])


def read_stamps(root: Root, *folder: str) -> pa.Table:
    """Read the stamps of a folder's rows.

    Args:
        root: root that holds the folder.
        *folder: parts of its path.
    Returns:
        `clip_id` and `content`, one row a row of the folder, in no order; null where an older version computed it.
    """
    return pa.concat_tables([_STAMPS.empty_table(), *read_stamps_by_shard(root, *folder).values()])


def read_stamps_by_shard(root: Root, *folder: str) -> dict[str, pa.Table]:
    """Read the stamps of a folder's rows shard by shard.

    Args:
        root: root that holds the folder.
        *folder: parts of its path.
    Returns:
        File name of each shard to `clip_id` and `content` of its rows.
    """
    names = root.list_names(*folder, suffix=".parquet")
    with ThreadPoolExecutor(_READERS) as pool:
        parts = pool.map(lambda name: root.read_parquet((*folder, name), _read_shard_stamps), names)
        return dict(zip(names, parts, strict=True))


def _read_shard_stamps(file: Any) -> pa.Table:
    shard = pq.ParquetFile(file)
    names = set(shard.schema_arrow.names) - set(feature_names(shard.schema_arrow))
    table = shard.read(columns=sorted(names))
    if CONTENT not in names:
        table = table.append_column(CONTENT, pa.nulls(table.num_rows, pa.string()))
    return table.select(_STAMPS.names).cast(_STAMPS)


def read_feature_stamps(root: Root, folders: Iterable[str]) -> dict[str, str]:
    """Read which content each clip's features were computed from.

    Args:
        root: root that holds the features.
        folders: names of folders below `features/`; where two were computed at different times, they may have seen
            different contents of a clip.
    Returns:
        Clip id to its stamp, or to all its stamps with ` | ` between; clips that an older version computed are left
        out.
    """
    stamps: dict[str, str] = {}
    for folder in folders:
        rows = read_stamps(root, "features", folder)
        rows = rows.filter(pc.is_valid(rows[CONTENT])).sort_by([("clip_id", "ascending"), (CONTENT, "ascending")])
        for name, content in zip(rows["clip_id"].to_pylist(), rows[CONTENT].to_pylist(), strict=True):
            if content not in stamps.setdefault(name, content).split(_SEPARATOR):
                stamps[name] += _SEPARATOR + content
    return stamps


def write_fit_stamps(root: Root, name: str, clips: pa.Table) -> None:
    """Keep which clips something was fitted on.

    Args:
        root: root that holds the fit.
        name: name of the fit under `artifacts/`.
        clips: `clip_id` and `content` of the clips, the latter being their stamps.
    """
    root.write_table(clips.select(["clip_id", CONTENT]), "artifacts", f"{name}_clips.parquet")


def count_changed_since_fit(root: Root, name: str, clips: pa.Table) -> int:
    """Count the clips that have changed since something was fitted on them.

    Args:
        root: root that holds the fit.
        name: name of the fit under `artifacts/`.
        clips: `clip_id` and `content` of the clips as they are now.
    Returns:
        Number of clips; 0 where it was not kept which clips these were.
    """
    if not root.exists("artifacts", f"{name}_clips.parquet"):
        return 0
    then = root.read_table("artifacts", f"{name}_clips.parquet")
    now = clips[CONTENT].take(pc.index_in(then["clip_id"], value_set=clips["clip_id"]))
    return int((~is_same_content(now, then[CONTENT])).sum())
