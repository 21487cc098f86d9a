"""What a root holds: which feature folder each tier is in, what was rejected, what is still to compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.data.compaction import compact
from m3ray.data.store import Root
from m3ray.errors import StudyError
from m3ray.schema import LISTING, TRANSIENT

REJECTS = ("rejects",)
NONE = pa.chunked_array([], pa.string())
_CURRENT = ("artifacts", "tiers.json")


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
    """The current features of a tier.

    Raises:
        StudyError: the root has none.
    """
    current = current_tiers(root)
    table = root.read_shards("features", current[tier]["folder"]) if tier in current else None
    if table is None:
        raise StudyError(f"{root.uri} holds no features of tier {tier}: run jobs/extract.py --tiers {tier} first")
    return table


def rejected_ids(root: Root, *, settled: bool = False, again: Sequence[str] = ()) -> pa.ChunkedArray:
    """The clips that stand in `rejects/`.

    Args:
        root: holds them.
        settled: without those whose reason says nothing of the clip (the storage did not answer).
        again: and, of these, without those that were rejected in one of these stages.
    """
    table = root.read_shards(*REJECTS, columns=["clip_id", "stage", "error"])
    if table is None:
        return NONE
    if settled:
        passing = pc.or_(pc.is_in(table["error"], pa.array(TRANSIENT)), pc.is_in(table["stage"], _texts(again)))
        table = table.filter(pc.invert(passing))
    return table["clip_id"]


def _texts(values: Sequence[str]) -> pa.Array:
    return pa.array(values, pa.string())


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


def total_of_runs(root: Root) -> dict[str, float]:
    """Statistics of a root, summed over all its runs."""
    totals: dict[str, float] = {"runs": 0, "wall_seconds": 0.0, "clips_done": 0, "clips_rejected": 0}
    for run in root.names("runs"):
        if root.exists("runs", run, "summary.json"):
            summary = root.read_json("runs", run, "summary.json")
            totals["runs"] += 1
            for key in ("wall_seconds", "clips_done", "clips_rejected"):
                totals[key] += summary.get(key, 0)
    return totals
