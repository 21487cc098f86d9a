"""Computation of the features that a root lacks, and the account of every clip: features or a reject."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import TierConfigs
from m3ray.config.options import WorkOptions
from m3ray.datasets.catalogue import add_video_metadata
from m3ray.errors import M3RayError
from m3ray.pipelines.extraction import dataflow
from m3ray.pipelines.extraction.planning import Plan
from m3ray.pipelines.extraction.preflight import check_workers
from m3ray.pipelines.extraction.rejects import check_rejects, report_rejects, select_accepted_ids, split_rejects
from m3ray.pipelines.extraction.version_checks import check_versions
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.job import Job
from m3ray.pipelines.runtime.progress import Progress
from m3ray.request.ranges import parse_max_rejects
from m3ray.schema import CATALOGUE_FILE, METADATA_TABLE
from m3ray.storage.rejects import REJECTS_FOLDER
from m3ray.storage.root import Root

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WindowStage:
    """A decoding stage that turns each clip into several rows, its sliding windows.

    Args:
        make: From the crash ledger to the stage.
        total: Number of rows that the stage will give.
    """

    make: Callable[[Any], dataflow.Stage]
    total: int


def compute_missing(
    plan: Plan,
    catalogue: pa.Table,
    configs: TierConfigs,
    options: WorkOptions,
    resources: Resources,
    *,
    job: Job | None = None,
    reads_checked: bool = False,
) -> pa.Table:
    """Compute the features that a root lacks of a plan, and account for every clip of its catalogue.

    Before that, the workers' software is compared with what the root's features were computed with, and a worker on
    each node tries to read a clip.

    Args:
        plan: What to compute, from `planning.plan`.
        catalogue: The plan's clips, with `clip_id`.
        configs: Settings of the plan's tiers.
        options: Processors, per-clip limits, and what the job tolerates.
        resources: CPUs and GPUs of the cluster.
        job: Gets the stage's time and the counts; its root's catalogue gets what decoding learned of each clip. None:
            nothing is counted, and the catalogue stays as it is.
        reads_checked: Whether the workers were seen to read these clips already.
    Returns:
        The catalogue, with what decoding learned of each clip if there is a job.
    Raises:
        M3RayError: If every clip of a job failed, more clips are rejected than allowed while the extraction runs, or a
            clip stands neither in a tier's features nor among the rejects.
    """
    check_versions(plan, options.compute, resources, mix=options.mix_versions)
    if not reads_checked:
        check_workers(plan.root, plan.work["uri"])
    max_rejects = parse_max_rejects(options.max_rejects, catalogue.num_rows)
    with nullcontext() if job is None else job.stage("extract"):
        progress = _extract(plan, configs, options, resources, max_rejects)
    if job is None:
        _account_for(plan, catalogue["clip_id"])
        return catalogue
    job.add_progress(progress)
    return _finish(job, plan, catalogue)


def compute_missing_windows(
    plan: Plan, configs: TierConfigs, options: WorkOptions, resources: Resources, windows: WindowStage
) -> None:
    """Compute the sliding windows that a plan lacks, of clips that were read and accounted for before.

    Args:
        plan: The clips whose windows are to be computed, as `WORK`.
        configs: Settings of the plan's tiers.
        options: Processors, per-clip limits, and what the job tolerates.
        resources: CPUs and GPUs of the cluster.
        windows: The stage that decodes a clip into its windows.
    """
    check_versions(plan, options.compute, resources, mix=options.mix_versions)
    _extract(plan, configs, options, resources, None, make_decode_stage=windows.make, total=windows.total)


def _extract(
    plan: Plan,
    configs: TierConfigs,
    options: WorkOptions,
    resources: Resources,
    max_rejects: int | None,
    **rows: Any,
) -> Progress:
    settings = dataflow.Settings(
        configs, options.limits, options.compute, resources, max_rejects, options.stall_minutes
    )
    return dataflow.run(plan, settings, **rows)


def _finish(job: Job, plan: Plan, catalogue: pa.Table) -> pa.Table:
    """Add what decoding learned to the catalogue, and stop a job that has nothing or lost a clip."""
    root, ids = plan.root, catalogue["clip_id"]
    catalogue = add_video_metadata(catalogue, root.read_shards(*plan.folders[METADATA_TABLE]))
    root.write_table(catalogue, CATALOGUE_FILE)
    _account_for(plan, ids, job)
    return catalogue


def _account_for(plan: Plan, ids: pa.ChunkedArray, job: Job | None = None) -> None:
    """Report the rejects; raise M3RayError where a clip stands nowhere, or every clip of a job failed."""
    permanent, transient = split_rejects(plan.root, ids)
    accepted = select_accepted_ids(ids, permanent, transient)
    if job is not None:
        job.set_outcome(len(ids), len(ids) - len(accepted), transient.num_rows)
    report_rejects(permanent, transient)
    if job is not None:
        _report_accepted(plan.root, len(ids), len(accepted))
    check_none_missing(plan, accepted)


def _report_accepted(root: Root, clips: int, accepted: int) -> None:
    logger.info(f"extract: {accepted} clips have features, {clips - accepted} rejected, {clips} in the catalogue")
    if not accepted:
        raise M3RayError(
            f"every one of the {clips} clips failed; {root.display(*REJECTS_FOLDER)} says why for each: mend them and "
            "run again with --retry-rejects"
        )


def check_reject_share(root: Root, ids: pa.ChunkedArray, options: WorkOptions) -> None:
    """Check that no more clips are rejected than `--max-rejects` allows.

    Args:
        root: Root that holds the rejects.
        ids: Ids of the catalogue's clips.
        options: Options with `max_rejects`.
    Raises:
        M3RayError: If more are; the most frequent reasons are named.
    """
    permanent, _ = split_rejects(root, ids)
    check_rejects(root, permanent.num_rows, parse_max_rejects(options.max_rejects, len(ids)), permanent)


def check_none_missing(plan: Plan, expected: pa.ChunkedArray) -> None:
    """Check that every accepted clip has features of all tiers of a plan.

    Args:
        plan: Plan of the extraction that is done.
        expected: Ids of the accepted clips.
    Raises:
        M3RayError: If a clip has no row in a tier's feature folder.
    """
    for tier in plan.tiers:
        ids = plan.root.read_ids(*plan.folders[tier.name])
        missing = expected.filter(pc.invert(pc.is_in(expected, value_set=ids)))
        if len(missing):
            raise M3RayError(
                f"{len(missing)} clips, {pc.min(missing).as_py()} among them, have neither {tier.name} features nor a "
                "row in rejects: workers were lost; run the same command again, it computes just these"
            )
