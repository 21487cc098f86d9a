"""What a root holds: which feature folder each tier is in, what was rejected, what is still to compute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from m3ray.errors import StudyError
from m3ray.schema import CONTENT, LISTING, feature_names
from m3ray.schema import REJECTS as REJECT_ROWS
from m3ray.storage.compaction import compact
from m3ray.storage.contents import same
from m3ray.storage.fault_codes import are_passing
from m3ray.storage.root import Root

REJECTS = ("rejects",)
NONE = pa.chunked_array([], pa.string())
_CURRENT = ("artifacts", "tiers.json")
_READERS = 16
_JOINT = " | "
# Of ten million clips, these texts are more than 2 GiB.
_STAMPED = pa.schema([("clip_id", pa.string()), (CONTENT, pa.large_string())])


def feature_folder(tier: str, fingerprint: str) -> tuple[str, str]:
    """Path of a tier's shards; `torchvision:NAME` loses its colon, which some file systems refuse."""
    return ("features", f"{tier.replace(':', '-')}-{fingerprint}")


def remember_tiers(root: Root, tiers: Mapping[str, Mapping[str, Any]]) -> None:
    """Notes which folder of each tier is the current one; others stay as they were."""
    root.write_json({**current_tiers(root), **tiers}, *_CURRENT)


def current_tiers(root: Root) -> dict[str, Any]:
    """Tier to `{"folder": name, "untrained": bool, "identity": {...}}`; empty for a fresh root."""
    return root.read_json(*_CURRENT) if root.exists(*_CURRENT) else {}


def tier_table(root: Root, tier: str) -> pa.Table:
    """The current features of a tier, `clip_id` first, without what they were computed from.

    Raises:
        StudyError: the root has none.
    """
    current = current_tiers(root)
    table = root.read_shards("features", current[tier]["folder"]) if tier in current else None
    if table is None:
        raise StudyError(f"{root.uri} holds no features of tier {tier}: run jobs/extract.py --tiers {tier} first")
    return table.select(["clip_id", *feature_names(table.schema)])


def stamped(root: Root, *folder: str) -> pa.Table:
    """`clip_id` and `content` of every row of a folder, null where an older version computed it; not ordered."""
    return pa.concat_tables([_STAMPED.empty_table(), *stamps_by_shard(root, *folder).values()])


def stamps_by_shard(root: Root, *folder: str) -> dict[str, pa.Table]:
    """As `stamped`, shard by shard."""
    names = root.names(*folder, suffix=".parquet")
    with ThreadPoolExecutor(_READERS) as pool:
        parts = pool.map(lambda name: root.read_parquet((*folder, name), _stamps), names)
        return dict(zip(names, parts, strict=True))


def _stamps(file: Any) -> pa.Table:
    shard = pq.ParquetFile(file)
    ours = set(shard.schema_arrow.names) - set(feature_names(shard.schema_arrow))
    table = shard.read(columns=sorted(ours))
    if CONTENT not in ours:
        table = table.append_column(CONTENT, pa.nulls(table.num_rows, pa.string()))
    return table.select(_STAMPED.names).cast(_STAMPED)


def contents_of(root: Root, folders: Iterable[str]) -> dict[str, str]:
    """What each clip's features were computed from; clips that an older version computed are left out.

    Args:
        root: holds them.
        folders: names below `features/`; where two saw a clip at other times, they may have seen another content.
    """
    found: dict[str, str] = {}
    for folder in folders:
        rows = stamped(root, "features", folder)
        rows = rows.filter(pc.is_valid(rows[CONTENT])).sort_by([("clip_id", "ascending"), (CONTENT, "ascending")])
        for name, content in zip(rows["clip_id"].to_pylist(), rows[CONTENT].to_pylist(), strict=True):
            if content not in found.setdefault(name, content).split(_JOINT):
                found[name] += _JOINT + content
    return found


# What was fitted on clips, and what these were then.


def note_fit(root: Root, name: str, clips: pa.Table) -> None:
    """Keeps beside a fit which clips it was fitted on.

    Args:
        root: holds it.
        name: of the fit, under `artifacts/`.
        clips: `clip_id` and `content`, their stamps.
    """
    root.write_table(clips.select(["clip_id", CONTENT]), "artifacts", f"{name}_clips.parquet")


def changed_since_fit(root: Root, name: str, clips: pa.Table) -> int:
    """How many of the clips that something was fitted on have changed since; 0 where it is not known.

    Args:
        root: holds it.
        name: as it was noted.
        clips: `clip_id` and `content`, as they are now.
    """
    if not root.exists("artifacts", f"{name}_clips.parquet"):
        return 0
    then = root.read_table("artifacts", f"{name}_clips.parquet")
    now = clips[CONTENT].take(pc.index_in(then["clip_id"], value_set=clips["clip_id"]))
    return int((~same(now, then[CONTENT])).sum())


def rejected_ids(root: Root, *, settled: bool = False) -> pa.ChunkedArray:
    """The clips that stand in `rejects/`.

    Args:
        root: holds them.
        settled: without those whose reason says nothing of the clip (the storage did not answer).
    """
    table = root.read_shards(*REJECTS, columns=["clip_id", "uri", "stage", "error", "message"])
    if table is None:
        return NONE
    return table.filter(pc.invert(are_passing(table)))["clip_id"] if settled else table["clip_id"]


def reject_rows(root: Root) -> pa.Table:
    """`rejects/`, one row a clip, in all its columns; those of an older version have no content."""
    table = root.read_shards(*REJECTS)
    found = REJECT_ROWS.empty_table() if table is None else table
    for column in REJECT_ROWS:
        if column.name not in found.column_names:
            found = found.append_column(column, pa.nulls(found.num_rows, column.type))
    return found.select(REJECT_ROWS.names)


def refuse(root: Root, refused: pa.Table) -> None:
    """Puts clips that must not be read among the rejects, and takes out those that were and now may be."""
    table = root.read_shards(*REJECTS, columns=["clip_id", "stage"])
    if table is not None:
        earlier = table.filter(pc.equal(table["stage"], LISTING))["clip_id"]
        compact(root, *REJECTS, without=earlier.filter(pc.invert(pc.is_in(earlier, refused["clip_id"]))))
    if refused.num_rows:
        root.write_shard(refused, REJECTS, {})


def refused_ids(root: Root) -> pa.ChunkedArray:
    """The rejects that stay so even when rejects are tried again: what they name lies outside the folder given."""
    table = root.read_shards(*REJECTS, columns=["clip_id", "stage"])
    return NONE if table is None else table.filter(pc.equal(table["stage"], LISTING))["clip_id"]
