"""Extraction: catalogue -> decode (CPU tasks) -> tier actors -> Parquet shards. Only what is missing is computed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig, TierConfigs
from m3ray.console import say
from m3ray.pipelines.extraction.crash_guard import make_ledger
from m3ray.pipelines.extraction.decode_stage import DecodeStage
from m3ray.pipelines.extraction.patience import unsparing_patience
from m3ray.pipelines.extraction.pauses import watched
from m3ray.pipelines.extraction.planning import Plan, prepare, tidy
from m3ray.pipelines.extraction.rejects import check_rejects
from m3ray.pipelines.extraction.stall import stopped_when_stalled
from m3ray.pipelines.extraction.tier_stage import TierColumns, TierStage
from m3ray.pipelines.extraction.write_stage import WriteStage
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.progress import Progress
from m3ray.storage.versions import software

Stage = Callable[[pa.Table], Iterator[pa.Table]]
_MOST_SHARD = 256
# Ray's driver keeps a record of each; at ten million clips a block is then a thousand clips.
_MOST_BLOCKS = 10_000
# Of each actor: a device that is asked for has something to do.
_FEWEST_BATCHES = 4
_WAITING = "CPUs for decoding or devices for the tiers (`ray status` shows what is pending)"
# A job that loses so many goes on to no good end; with fewer, all its clips are worth their reasons first.
_FEWEST_TO_STOP = 100


def run(
    plan: Plan,
    configs: TierConfigs,
    limits: LimitsConfig,
    compute: ComputeConfig,
    on: Resources,
    *,
    decode: Callable[[Any], Stage] | None = None,
    total: int | None = None,
    most_rejects: int | None = None,
    stall_minutes: float = 0.0,
) -> Progress:
    """Computes what the plan lacks, commits it shard by shard, and tidies up.

    Args:
        plan: what to compute.
        configs: of the tiers.
        limits: what a clip may cost.
        compute: how the work is laid over processors.
        on: the cluster.
        decode: from the ledger to a stage that turns rows of `WORK` into rows of `DECODED`; None: each clip once.
        total: rows that come out of it; None: one a clip.
        most_rejects: clips, those rejected earlier among them, that may be rejected before the job stops; None: all.
        stall_minutes: without a clip through a stage after which the job stops; 0: it never does.
    Raises:
        StorageError: the storage answered for nothing as long as the job waits.
        StalledError: nothing went on for `stall_minutes`.
        M3RayError: more clips are rejected than may be.
    """
    work = _Work(configs, limits, compute, on, decode, most_rejects, stall_minutes)
    plan = prepare(plan)
    if not plan.work.num_rows:
        say("extract: nothing to compute, every clip is cached or rejected")
        progress = Progress("extract", 0, _WAITING)
    else:
        progress = work.compute(plan, plan.work.num_rows if total is None else total)
        # Clips of one content take the rows of the first; where that one failed, each is tried itself.
        rest = prepare(plan.anew(only=plan.twins)) if len(plan.twins) and plan.anew is not None else None
        if rest is not None and rest.work.num_rows:
            progress.include(work.compute(rest, rest.work.num_rows))
    tidy(plan)
    return progress


@dataclass(frozen=True)
class _Work:
    """How the clips of a plan are computed; as in `run`."""

    configs: TierConfigs
    limits: LimitsConfig
    resources: ComputeConfig
    on: Resources
    decode: Callable[[Any], Stage] | None
    most_rejects: int | None
    stall_minutes: float

    def compute(self, plan: Plan, clips: int) -> Progress:
        """Computes and commits all work of a plan, which yields so many rows."""
        progress, ledger = Progress("extract", clips, _WAITING), make_ledger(self.limits)
        needed = ("GPU",) if self.on.gpus else ("CPU",)
        with (
            progress,
            watched(ledger, self.limits, progress),
            stopped_when_stalled(ledger, self.stall_minutes, progress, needed),
        ):
            _follow(_counts(self._dataset(plan, ledger)), progress, plan, self.most_rejects)
        return progress

    def _dataset(self, plan: Plan, ledger: Any) -> ray.data.Dataset:
        decode, threads = self.configs.decode, self.on.threads(self.resources)
        first = self.decode(ledger) if self.decode else _decode_stage(plan, decode, self.limits, self.resources, ledger)
        stage = (plan.tiers, decode, self.limits, threads, self.resources, ledger, software())
        writer = _write_stage(plan, decode, self.limits, ledger)
        return _dataset(plan, first, stage, writer, self.resources, self.on)


def _follow(counts: Iterator[dict[str, Any]], progress: Progress, plan: Plan, most_rejects: int | None) -> None:
    rejected = plan.rejected
    for row in counts:
        progress.add(row["done"], row["rejected"], json.loads(row["seconds"]))
        rejected += row["rejected"] - row["storage_failed"]
        if most_rejects is not None and rejected > max(most_rejects, _FEWEST_TO_STOP):
            check_rejects(plan.root, rejected, most_rejects)


def _counts(results: ray.data.Dataset) -> Iterator[dict[str, Any]]:
    for batch in results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from batch.to_pylist()


def _decode_stage(plan: Plan, config: DecodeConfig, limits: LimitsConfig, compute: ComputeConfig, ledger: Any) -> Stage:
    first_frame = [tier.name for tier in plan.tiers if not tier.whole_clip]
    return DecodeStage(config, limits, first_frame_tiers=first_frame, decoder=compute.decoder, ledger=ledger)


def _write_stage(plan: Plan, config: DecodeConfig, limits: LimitsConfig, ledger: Any) -> WriteStage:
    columns = [TierColumns(tier.name, tier.schema) for tier in plan.tiers]
    return WriteStage(plan.root, columns, plan.folders, plan.metadata(config), unsparing_patience(limits, ledger))


def _blocks(work: pa.Table, on: Resources) -> list[pa.Table]:
    """Many small blocks, a decoding task each: it is what a lost worker loses."""
    count = max(1, min(work.num_rows, max(4 * on.cpus, work.num_rows // 64), _MOST_BLOCKS))
    edges = np.linspace(0, work.num_rows, count + 1).astype(int)
    return [work.slice(start, end - start) for start, end in itertools.pairwise(edges)]


def _dataset(
    plan: Plan,
    decode: Stage,
    stage: tuple[Any, ...],
    writer: WriteStage,
    compute: ComputeConfig,
    on: Resources,
) -> ray.data.Dataset:
    batch = on.batch(compute)
    # A pool of fixed size: its actors wait for their devices as a demand that an autoscaler sees, and work as soon as
    # they have one. A growing pool was seen to stay at one actor while a second GPU node stood idle.
    actors = min(on.actors(compute), max(1, plan.work.num_rows // (_FEWEST_BATCHES * batch)))
    shard = compute.shard_clips or min(_MOST_SHARD, max(4, plan.work.num_rows // 24))
    data = ray.data.from_arrow(_blocks(plan.work, on))
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
        fn_constructor_args=stage,
        batch_size=batch,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
        num_gpus=1 if on.gpus else None,
        num_cpus=None if on.gpus else max(0.5, on.cpus / actors / 2),
    )
    return data.map_batches(writer, batch_size=shard, batch_format="pyarrow", num_cpus=0.25)
