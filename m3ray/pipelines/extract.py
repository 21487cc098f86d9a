"""Extraction: catalogue -> decode (CPU tasks) -> tier actors -> Parquet shards. Only what is missing is computed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig, TierConfigs
from m3ray.pipelines.cluster import Resources
from m3ray.pipelines.computing import TierColumns, TierStage
from m3ray.pipelines.decoding import DecodeStage
from m3ray.pipelines.planning import Plan, tidy
from m3ray.pipelines.progress import Progress, say
from m3ray.pipelines.strikes import make_ledger
from m3ray.pipelines.writing import WriteStage

_MOST_SHARD = 256
# Ray's driver keeps a record of each; at ten million clips a block is then a thousand clips.
_MOST_BLOCKS = 10_000
# Of each actor: a device that is asked for has something to do.
_FEWEST_BATCHES = 4


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
    if plan.work.num_rows:
        ledger = make_ledger()
        decode = decode or DecodeStage(configs.decode, limits, decoder=compute.decoder, ledger=ledger)
        stage = (plan.tiers, configs.decode, limits, on.threads(compute), compute, ledger)
        with progress:
            results = _dataset(plan, decode, stage, configs.decode, compute, on)
            for batch in results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for row in batch.to_pylist():
                    progress.add(row["done"], row["rejected"], json.loads(row["seconds"]))
    else:
        say("extract: nothing to compute, every clip is cached or rejected")
    tidy(plan)
    return progress


def _blocks(work: pa.Table, on: Resources) -> list[pa.Table]:
    """Many small blocks, a decoding task each: it is what a lost worker loses."""
    count = max(1, min(work.num_rows, max(4 * on.cpus, work.num_rows // 64), _MOST_BLOCKS))
    edges = np.linspace(0, work.num_rows, count + 1).astype(int)
    return [work.slice(start, end - start) for start, end in itertools.pairwise(edges)]


def _dataset(
    plan: Plan,
    decode: Callable[[pa.Table], Iterator[pa.Table]],
    stage: tuple[Any, ...],
    config: DecodeConfig,
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
    return data.map_batches(
        WriteStage(
            plan.root,
            [TierColumns(t.name, t.schema) for t in plan.tiers],
            plan.folders,
            plan.metadata(config),
        ),
        batch_size=shard,
        batch_format="pyarrow",
        num_cpus=0.25,
    )
