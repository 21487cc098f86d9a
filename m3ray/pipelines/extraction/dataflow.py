"""Dataflow of an extraction in Ray Data: work -> decoding (CPU tasks) -> tier actors -> Parquet shards."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
from ray.data.context import DEFAULT_TARGET_MAX_BLOCK_SIZE
from ray.util import accelerators

from m3ray.config import ComputeConfig, LimitsConfig, TierConfigs
from m3ray.errors import LostDeviceError
from m3ray.pipelines.extraction.crash_guard import start_ledger
from m3ray.pipelines.extraction.decode_stage import DecodeStage, OnlyRows
from m3ray.pipelines.extraction.device_watch import ask_devices, report_devices
from m3ray.pipelines.extraction.planning import Plan
from m3ray.pipelines.extraction.rejects import check_rejects
from m3ray.pipelines.extraction.root_upkeep import prepare, tidy
from m3ray.pipelines.extraction.stall_watchdog import stop_when_stalled
from m3ray.pipelines.extraction.storage_pauses import report_pauses
from m3ray.pipelines.extraction.storage_retries import make_persistent_retry
from m3ray.pipelines.extraction.tier_columns import TierColumns
from m3ray.pipelines.extraction.tier_stage import TierStage
from m3ray.pipelines.extraction.write_stage import WriteStage
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.progress import Progress
from m3ray.storage.versions import software_versions
from m3ray.video.sandbox import MAX_THREADS

logger = logging.getLogger(__name__)

Stage = Callable[[pa.Table], Iterator[pa.Table]]
MakeDecodeStage = Callable[[Any], Stage] | None
_MAX_SHARD_CLIPS = 256
# Ray's driver keeps a record of each; at ten million clips a block is then a thousand clips.
_MAX_BLOCKS = 10_000
# A window of frames. Ray gathers that many bytes of a task's rows, in copies, before an actor sees the first of them:
# its 128 MiB would be seconds of a CPU's work and half a gigabyte. GPUs want few, large blocks, for the driver's sake.
_CPU_BLOCK_BYTES = 24 << 20
# Frames are decoded on the node whose GPU computes them while that has a CPU free, so that they cross no network; other
# nodes help where those do not keep up.
_GPU_TYPES = sorted({value for name, value in vars(accelerators).items() if name.startswith("NVIDIA_")})
_NEAR_GPUS = {"ray.io/accelerator-type": f"in({','.join(_GPU_TYPES)})"}
_LEDGER_LIVES = 3
# Per actor: a device that is asked for has something to do.
_MIN_BATCHES = 4
_WAITING = "CPUs for decoding or devices for the tiers (`ray status` shows what is pending)"
# A job that rejects so many clips is stopped; with fewer, all its clips are tried and get their reasons first.
_MIN_REJECTS_TO_STOP = 100


@dataclass(frozen=True)
class Settings:
    """How the clips of a plan are computed.

    Args:
        configs: Settings of the tiers.
        limits: Per-clip resource limits.
        compute: How the work is laid over processors.
        resources: CPUs and GPUs of the cluster.
        max_rejects: Number of clips, those rejected earlier among them, that may be rejected before the job stops;
            None if all may.
        stall_minutes: Minutes without a clip through a stage after which the job stops; 0 never stops it.
    """

    configs: TierConfigs
    limits: LimitsConfig
    compute: ComputeConfig
    resources: Resources
    max_rejects: int | None = None
    stall_minutes: float = 0.0


def run(
    plan: Plan,
    settings: Settings,
    *,
    make_decode_stage: MakeDecodeStage = None,
    total: int | None = None,
) -> Progress:
    """Compute what a plan lacks, commit it shard by shard, and tidy up the root.

    Args:
        plan: Plan of the extraction.
        settings: How its clips are computed.
        make_decode_stage: From the ledger to a stage that turns rows of `records.WORK` into rows of `records.DECODED`;
            None decodes each clip once.
        total: Number of rows that come out of the decoding stage; None if it is one a clip.
    Returns:
        Counts and seconds of the extraction.
    Raises:
        StorageError: If the storage answered no request as long as the job waits.
        LostDeviceError: If no GPU is left that computes.
        StalledError: If no clip got through a stage for `stall_minutes`.
        M3RayError: If more clips are rejected than `max_rejects`.
    """
    plan = prepare(plan)
    if not plan.work.num_rows:
        logger.info("extract: nothing to compute, every clip is cached or rejected")
        progress = Progress("extract", 0, _WAITING)
    else:
        ledger, rows = start_ledger(settings.limits), plan.work.num_rows if total is None else total
        progress = _compute(plan, settings, rows, make_decode_stage, ledger)
        _compute_lost(plan, settings, make_decode_stage, ledger, progress)
        # Clips of one content take the rows of the first; where that one failed, each is tried itself.
        rest = prepare(plan.replan(only=plan.duplicates)) if len(plan.duplicates) and plan.replan is not None else None
        if rest is not None and rest.work.num_rows:
            progress.include(_compute(rest, settings, rest.work.num_rows, make_decode_stage, ledger))
    tidy(plan)
    return progress


def _compute(plan: Plan, settings: Settings, rows: int, make_decode_stage: MakeDecodeStage, ledger: Any) -> Progress:
    """Compute and commit all work of a plan, which yields so many rows; those that a GPU failed in a further pass."""
    decode = _make_decode_stage(plan, settings, ledger) if make_decode_stage is None else make_decode_stage(ledger)
    progress, deferred = _run_pass(plan, settings, rows, decode, ledger)
    computed, banned = progress.done + progress.rejected, 0
    while deferred:
        before, banned = banned, ask_devices(ledger, "count_banned")
        if not computed and banned == before:  # nor would another pass do more, unless it takes another GPU
            raise LostDeviceError(ask_devices(ledger, "describe_banned"))
        logger.info(f"extract: GPUs that are not used any more left {len(deferred)} clips, which others compute now")
        part = _select_clips(plan, deferred)
        further, left = _run_pass(part, settings, len(deferred), OnlyRows(decode, frozenset(deferred)), ledger)
        computed, deferred = len(deferred) - len(left), left
        progress.include(further)
    return progress


def _compute_lost(
    plan: Plan, settings: Settings, make_decode_stage: MakeDecodeStage, ledger: Any, progress: Progress
) -> None:
    """Compute the clips that came to no row.

    Their windows waited in a ledger whose process died; or a decoding task was repeated and had fewer results for a
    clip than before, so that Ray left out others in their place.
    """
    for _ in range(_LEDGER_LIVES):
        if make_decode_stage is not None or plan.replan is None or _count_clips(progress) == plan.work.num_rows:
            return
        rest = prepare(plan.replan(only=plan.work["clip_id"].combine_chunks()))
        if not rest.work.num_rows:
            return
        logger.info(f"extract: {rest.work.num_rows} clips came to no row and are computed again")
        progress.include(_compute(rest, settings, rest.work.num_rows, make_decode_stage, ledger))


def _count_clips(progress: Progress) -> int:
    return progress.done + progress.rejected


def _select_clips(plan: Plan, rows: Mapping[str, str]) -> Plan:
    """The plan with no work but the clips of some rows."""
    clips = pa.array(sorted(set(rows.values())), pa.string())
    return replace(plan, work=plan.work.filter(pc.is_in(plan.work["clip_id"], value_set=clips)))


def _run_pass(plan: Plan, settings: Settings, rows: int, decode: Stage, ledger: Any) -> tuple[Progress, dict[str, str]]:
    """Compute and commit the work of a plan; row and clip of what GPUs left that failed again and again."""
    progress, gpus = Progress("extract", rows, _WAITING), settings.resources.gpus
    ray.get(ledger.call_part.remote("joins", "start_pass"))
    actors = _count_actors(plan, settings, ask_devices(ledger, "count_banned") if gpus else 0)
    if gpus:
        ask_devices(ledger, "start_pass", -(-actors // settings.resources.actors_per_gpu(settings.compute)), gpus)
    with (
        progress,
        report_devices(ledger) if gpus else nullcontext(),
        report_pauses(ledger, settings.limits, progress),
        stop_when_stalled(ledger, settings.stall_minutes, progress, ("GPU",) if gpus else ("CPU",)),
    ):
        counts = _iterate_counts(_build_dataset(plan, settings, decode, ledger, actors))
        return progress, _track_progress(counts, progress, plan, settings.max_rejects)


def _track_progress(
    counts: Iterator[dict[str, Any]], progress: Progress, plan: Plan, max_rejects: int | None
) -> dict[str, str]:
    """Count what is committed; row and clip of what was handed back."""
    rejected, deferred = plan.rejected, {}
    for row in counts:
        progress.add(row["done"], row["rejected"], dict(row["seconds"]))
        deferred.update(row["deferred"])
        rejected += row["rejected"] - row["storage_failed"]
        if max_rejects is not None and rejected > max(max_rejects, _MIN_REJECTS_TO_STOP):
            check_rejects(plan.root, rejected, max_rejects)
    return deferred


def _iterate_counts(results: ray.data.Dataset) -> Iterator[dict[str, Any]]:
    for batch in results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from batch.to_pylist()


def _make_decode_stage(plan: Plan, settings: Settings, ledger: Any) -> Stage:
    first_frame = [tier.name for tier in plan.tiers if not tier.whole_clip]
    # Where there are fewer clips than CPUs, those left over help to decode them.
    spare = settings.resources.cpus // max(1, plan.work.num_rows)
    threads = max(1, min(spare, MAX_THREADS))
    decode, decoder = settings.configs.decode, settings.compute.decoder
    return DecodeStage(
        decode, settings.limits, first_frame_tiers=first_frame, decoder=decoder, threads=threads, ledger=ledger
    )


def _make_write_stage(plan: Plan, settings: Settings, ledger: Any) -> WriteStage:
    columns = [TierColumns(tier.name, tier.schema) for tier in plan.tiers]
    retry = make_persistent_retry(settings.limits, ledger)
    return WriteStage(plan.root, columns, plan.folders, plan.metadata(settings.configs.decode), retry, ledger)


def _split_into_blocks(work: pa.Table, cpus: int) -> list[pa.Table]:
    """Split work into many small blocks, a decoding task each: a block is what a dead worker loses."""
    count = max(1, min(work.num_rows, max(4 * cpus, work.num_rows // 64), _MAX_BLOCKS))
    edges = np.linspace(0, work.num_rows, count + 1).astype(int)
    return [work.slice(start, end - start) for start, end in itertools.pairwise(edges)]


def _count_actors(plan: Plan, settings: Settings, banned: int) -> int:
    """Number of tier actors of a pass: no more than have something to do, but one GPU more than are banned."""
    compute, resources = settings.compute, settings.resources
    busy = max(1, plan.work.num_rows // (_MIN_BATCHES * resources.batch(compute)))
    actors, share = min(resources.actors(compute), busy), resources.actors_per_gpu(compute)
    return max(actors, min(resources.gpus, banned + 1) * share) if banned else actors


def _decode_cpus(resources: Resources) -> float:
    """CPUs of a decoding task; Ray starts no more than there are."""
    if not resources.gpus:
        return 0.25
    return 0.5 if resources.cpus <= 2 else 1


def _build_dataset(plan: Plan, settings: Settings, decode: Stage, ledger: Any, actors: int) -> ray.data.Dataset:
    compute, resources = settings.compute, settings.resources
    batch = resources.batch(compute)
    shard = compute.shard_clips or min(_MAX_SHARD_CLIPS, max(4, plan.work.num_rows // 24))
    threads, versions = resources.threads(compute), software_versions()
    tier_stage = (plan.tiers, settings.configs.decode, settings.limits, threads, compute, ledger, versions)
    block_bytes = DEFAULT_TARGET_MAX_BLOCK_SIZE if resources.gpus else _CPU_BLOCK_BYTES
    ray.data.DataContext.get_current().target_max_block_size = block_bytes
    data = ray.data.from_arrow(_split_into_blocks(plan.work, resources.cpus))
    data = data.map_batches(
        decode,
        batch_size=None,  # a block a task: Ray would else join blocks until it has so many rows
        batch_format="pyarrow",
        zero_copy_batch=True,
        num_cpus=_decode_cpus(resources),
        label_selector=_NEAR_GPUS if resources.gpus else None,
        fallback_strategy=[{"label_selector": {}}] if resources.gpus else None,
        compute=ray.data.TaskPoolStrategy(size=None if resources.gpus else max(actors, resources.cpus // 2)),
    )
    data = data.map_batches(
        TierStage,
        fn_constructor_args=tier_stage,
        fn_constructor_kwargs={"gpu": bool(resources.gpus)},
        batch_size=batch,
        batch_format="pyarrow",
        zero_copy_batch=True,
        # A pool of fixed size: its actors wait for their devices as a demand that an autoscaler sees, and work as soon
        # as they have one. A growing pool was seen to stay at one actor while a second GPU node stood idle.
        compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
        num_gpus=1 / resources.actors_per_gpu(compute) if resources.gpus else None,
        # Beside a GPU an actor waits for it more than it computes: decoding needs the CPUs. Elsewhere actors take half
        # of them, at most one each, as they must fit the smallest node; decoding a quarter; the rest is the writer's.
        num_cpus=0.5 if resources.gpus else min(1.0, resources.cpus / actors / 2),
    )
    writer = _make_write_stage(plan, settings, ledger)
    return data.map_batches(writer, batch_size=shard, batch_format="pyarrow", num_cpus=0.25)
