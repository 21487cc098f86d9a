"""Extraction: catalogue -> decode (CPU tasks) -> tier actors -> Parquet shards. Only what is missing is computed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray.data

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig, TierConfigs, as_json, fingerprint
from m3ray.data.rooms import REJECTS, feature_folder, rejected_ids, remember_tiers
from m3ray.data.store import Root
from m3ray.pipelines.cluster import Resources
from m3ray.pipelines.computing import TierColumns, TierStage
from m3ray.pipelines.decoding import DecodeStage
from m3ray.pipelines.progress import Progress, say
from m3ray.pipelines.rows import WORK
from m3ray.pipelines.writing import WriteStage
from m3ray.tiers import Tier, fingerprint_of

_MOST_SHARD = 256


@dataclass(frozen=True)
class Plan:
    """What there is to compute.

    Args:
        folders: path of each tier, and of `facts`.
        missing: clips that each tier lacks, rejected ones left out.
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


def plan(root: Root, catalogue: pa.Table, tiers: Sequence[Tier], configs: TierConfigs, *, retry: bool) -> Plan:
    """Compares the catalogue with what the root holds."""
    folders = {tier.name: feature_folder(tier.name, fingerprint_of(tier, configs.decode)) for tier in tiers}
    folders["facts"] = feature_folder("facts", fingerprint("facts", 1, configs.decode))
    ids, uris = catalogue["clip_id"].to_pylist(), catalogue["uri"].to_pylist()
    rejected = set() if retry else rejected_ids(root) & set(ids)
    done = {tier.name: root.ids(*folders[tier.name]) for tier in tiers}
    rows = []
    for name, uri in zip(ids, uris, strict=True):
        lacking = [tier.name for tier in tiers if name not in done[tier.name]]
        if lacking and name not in rejected:
            rows.append({"clip_id": name, "uri": uri, "tiers": lacking})
    missing = {tier.name: sum(tier.name in row["tiers"] for row in rows) for tier in tiers}
    cached = {tier.name: len(done[tier.name] & set(ids)) for tier in tiers}
    work = pa.Table.from_pylist(rows, schema=WORK)
    return Plan(root, tuple(tiers), folders, work, missing, cached, len(rejected))


def run(
    plan: Plan,
    configs: TierConfigs,
    limits: LimitsConfig,
    compute: ComputeConfig,
    on: Resources,
    *,
    decode: Callable[[pa.Table], Iterator[pa.Table]] | None = None,
    total: int | None = None,
) -> Progress:
    """Computes what the plan lacks, commits it shard by shard, and tidies up.

    Args:
        plan: what to compute.
        configs: of the tiers.
        limits: what a clip may cost.
        compute: how the work is laid over processors.
        on: the cluster.
        decode: from rows of `WORK` to rows of `DECODED`; None: each clip once, whole.
        total: rows that come out of it; None: one a clip.
    """
    waiting = "CPUs for decoding or devices for the tiers (`ray status` shows what is pending)"
    progress = Progress("extract", plan.work.num_rows if total is None else total, waiting)
    decode = decode or DecodeStage(configs.decode, limits)
    if plan.work.num_rows:
        with progress:
            results = _dataset(plan, decode, configs, limits, compute, on)
            for batch in results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for row in batch.to_pylist():
                    progress.add(row["done"], row["rejected"], json.loads(row["seconds"]))
    else:
        say("extract: nothing to compute, every clip is cached or rejected")
    _tidy(plan)
    return progress


def _dataset(
    plan: Plan,
    decode: Callable[[pa.Table], Iterator[pa.Table]],
    configs: TierConfigs,
    limits: LimitsConfig,
    compute: ComputeConfig,
    on: Resources,
) -> ray.data.Dataset:
    actors, batch = on.actors(compute), on.batch(compute)
    shard = compute.shard_clips or min(_MOST_SHARD, max(4, plan.work.num_rows // 24))
    # Many small blocks: a block is what a killed job loses of decoding.
    blocks = max(1, min(plan.work.num_rows, max(4 * on.cpus, plan.work.num_rows // 64)))
    data = ray.data.from_arrow(plan.work).repartition(blocks)
    data = data.map_batches(
        decode,
        batch_size=4,
        batch_format="pyarrow",
        zero_copy_batch=True,
        num_cpus=0.5 if on.cpus <= 2 else 1,
        compute=ray.data.TaskPoolStrategy(size=None if on.gpus else max(1, on.cpus // 2)),
    )
    data = data.map_batches(
        TierStage,
        fn_constructor_args=(plan.tiers, configs.decode, limits, on.threads(compute), compute),
        batch_size=batch,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, max_tasks_in_flight_per_actor=2),
        num_gpus=1 if on.gpus else None,
        num_cpus=None if on.gpus else max(0.5, on.cpus / actors / 2),
    )
    return data.map_batches(
        WriteStage(
            plan.root,
            [TierColumns(t.name, t.schema) for t in plan.tiers],
            plan.folders,
            _metadata(plan, configs.decode),
        ),
        batch_size=shard,
        batch_format="pyarrow",
        num_cpus=0.25,
    )


def _metadata(plan: Plan, decode: DecodeConfig) -> dict[str, dict[str, Any]]:
    """What stands in each shard's Arrow metadata: enough to know how its numbers were made."""
    common = {"decode": as_json(decode)}
    tiers = {
        tier.name: {
            **common,
            "identity": tier.identity(),
            "untrained": tier.untrained,
            "folder": plan.folders[tier.name][1],
        }
        for tier in plan.tiers
    }
    return {**tiers, "facts": common}


def _tidy(plan: Plan) -> None:
    """Merges small shards, takes clips that now succeeded out of `rejects/`, notes the current folders."""
    for folder in plan.folders.values():
        plan.root.merge_shards(*folder)
    retried = rejected_ids(plan.root)
    if retried:
        succeeded = retried.intersection(*(plan.root.ids(*plan.folders[tier.name]) for tier in plan.tiers))
        plan.root.merge_shards(*REJECTS, without=succeeded)
    current = {
        tier.name: {"folder": plan.folders[tier.name][1], "untrained": tier.untrained, "identity": tier.identity()}
        for tier in plan.tiers
    }
    remember_tiers(plan.root, {**current, "facts": {"folder": plan.folders["facts"][1]}})
