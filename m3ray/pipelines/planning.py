"""What there is to compute: the catalogue against what a root holds, column by column; and a tidy root at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import DecodeConfig, TierConfigs, as_json, fingerprint
from m3ray.data.compaction import compact
from m3ray.data.rooms import NONE, REJECTS, current_tiers, feature_folder, refused_ids, rejected_ids, remember_tiers
from m3ray.data.sampling import DECODING
from m3ray.data.store import Root
from m3ray.pipelines.rows import WORK
from m3ray.schema import LISTING
from m3ray.tiers import Tier, fingerprint_of
from m3ray.tiers.factory import computed

_DECODING_STAGES = ("sniff", "demux", "decode")


@dataclass(frozen=True)
class Plan:
    """What there is to compute.

    Args:
        folders: path of each tier, and of `facts`.
        work: the clips that lack a tier, as rows of `WORK`.
        missing: clips that each tier lacks, rejected ones left out.
        cached: clips that each tier has.
        rejected: clips rejected earlier and not tried again.
    """

    root: Root
    tiers: tuple[Tier, ...]
    folders: Mapping[str, tuple[str, str]]
    work: pa.Table
    missing: Mapping[str, int]
    cached: Mapping[str, int]
    rejected: int

    def lines(self) -> list[str]:
        """The plan in words, a line a tier."""
        return [
            f"  {tier.name:<8} {self.missing[tier.name]} to compute, {self.cached[tier.name]} cached, "
            f"{self.rejected} rejected earlier{', untrained weights' if tier.untrained else ''}"
            for tier in self.tiers
        ]

    def metadata(self, decode: DecodeConfig) -> dict[str, dict[str, Any]]:
        """What stands in each shard's Arrow metadata: enough to know how its numbers were made."""
        common = {"decode": as_json(decode)}
        tiers = {tier.name: {**common, **_entry(self, tier)} for tier in self.tiers}
        return {**tiers, "facts": common}


def plan(root: Root, catalogue: pa.Table, tiers: Sequence[Tier], configs: TierConfigs, *, retry: bool) -> Plan:
    """Compares the catalogue with what the root holds: an anti-join a tier, of hashes and not of Python objects.

    Args:
        root: holds features and rejects.
        catalogue: `clip_id, uri`.
        tiers: to compute.
        configs: their settings.
        retry: whether rejected clips are tried again; those that the storage failed are in any case.
    """
    folders = {tier.name: feature_folder(tier.name, fingerprint_of(tier, configs.decode)) for tier in tiers}
    folders["facts"] = feature_folder("facts", fingerprint("facts", DECODING, configs.decode))
    ids = catalogue["clip_id"].cast(pa.string())
    # What another way of decoding rejected, this one may read.
    again = _DECODING_STAGES if current_tiers(root).get("facts", {}).get("folder") != folders["facts"][1] else ()
    rejected = _within(ids, refused_ids(root) if retry else rejected_ids(root, settled=True, again=again))
    have = {tier.name: _within(ids, root.ids(*folders[tier.name])) for tier in tiers}
    lacking = {name: ~done & ~rejected for name, done in have.items()}
    missing = {name: int(rows.sum()) for name, rows in lacking.items()}
    cached = {name: int(done.sum()) for name, done in have.items()}
    work = _work(catalogue, lacking)
    return Plan(root, tuple(tiers), folders, work, missing, cached, int(rejected.sum()))


def _within(ids: pa.ChunkedArray, known: pa.ChunkedArray) -> np.ndarray:
    return pc.is_in(ids, value_set=known).to_numpy()


def _work(catalogue: pa.Table, lacking: Mapping[str, np.ndarray]) -> pa.Table:
    """The clips that lack a tier, each with the list of those it lacks."""
    masks = np.stack(list(lacking.values()), axis=1)
    rows = masks.any(axis=1)
    _, columns = np.nonzero(masks[rows])
    offsets = np.concatenate([[0], np.cumsum(masks[rows].sum(axis=1))]).astype(np.int32)
    names = pa.array(list(lacking), pa.string()).take(pa.array(columns))
    chosen = catalogue.select(["clip_id", "uri"]).filter(pa.array(rows))
    return chosen.append_column("tiers", pa.ListArray.from_arrays(pa.array(offsets), names)).cast(WORK)


def tidy(plan: Plan) -> None:
    """Merges small shards, takes clips that now succeeded out of `rejects/`, notes the current folders."""
    for folder in plan.folders.values():
        compact(plan.root, *folder)
    compact(plan.root, *REJECTS, without=_succeeded(plan))
    current = {tier.name: _entry(plan, tier) for tier in plan.tiers}
    remember_tiers(plan.root, {**current, "facts": {"folder": plan.folders["facts"][1]}})


def _succeeded(plan: Plan) -> pa.ChunkedArray:
    """Rejects that now have what was asked for; those that a tier failed must have all that the root holds."""
    table = plan.root.read_shards(*REJECTS, columns=["clip_id", "stage"])
    if table is None:
        return NONE
    asked = [plan.folders[tier.name] for tier in plan.tiers]
    current = current_tiers(plan.root)
    others = [tier for tier in computed(current) if tier not in plan.folders]
    held = [("features", current[tier]["folder"]) for tier in others]
    by_tier = pc.starts_with(table["stage"], "tier")
    read = table.filter(pc.and_(pc.invert(by_tier), pc.not_equal(table["stage"], LISTING)))["clip_id"]
    found = [_in_all(plan.root, read, asked), _in_all(plan.root, table.filter(by_tier)["clip_id"], [*asked, *held])]
    return pa.chunked_array([chunk for ids in found for chunk in ids.chunks], pa.string())


def _in_all(root: Root, ids: pa.ChunkedArray, folders: Sequence[tuple[str, str]]) -> pa.ChunkedArray:
    """Those of some clips that all of these folders hold."""
    for folder in folders if len(ids) else ():
        ids = ids.filter(pc.is_in(ids, value_set=root.ids(*folder)))
    return ids


def _entry(plan: Plan, tier: Tier) -> dict[str, Any]:
    return {"folder": plan.folders[tier.name][1], "untrained": tier.untrained, "identity": tier.identity()}
