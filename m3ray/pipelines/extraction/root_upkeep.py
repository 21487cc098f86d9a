"""Upkeep of a root around an extraction: put it in order before, and merge and index what was written after."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.datasets.known_contents import note_contents
from m3ray.pipelines.extraction.clip_comparison import Folder
from m3ray.pipelines.extraction.compaction_tasks import run_in_tasks
from m3ray.pipelines.extraction.planning import Plan
from m3ray.pipelines.extraction.row_updates import copy_rows, drop_stale_rows
from m3ray.schema import LISTING, METADATA_TABLE
from m3ray.storage.compaction import compact
from m3ray.storage.rejects import NO_CLIP_IDS, REJECTS_FOLDER, read_rejected_ids
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, update_tier_index
from m3ray.tiers.factory import select_computed

logger = logging.getLogger(__name__)


def prepare(plan: Plan) -> Plan:
    """Put the root in order before anything is computed.

    Rows of the same content are copied, then rows of changed clips are dropped, and rejects that are tried again: a
    job that is killed after it has lost nothing but time.

    Args:
        plan: Plan of the extraction.
    Returns:
        The plan of what is then left to compute.
    """
    rejected = read_rejected_ids(plan.root)
    retried = rejected.filter(pc.is_in(rejected, value_set=plan.work["clip_id"]))
    compact(plan.root, *REJECTS_FOLDER, without=retried if len(retried) else None)
    if plan.known_contents is not None and plan.new_stamps is not None:
        note_contents(plan.root, plan.known_contents, plan.new_stamps)
    for folder, clips in plan.copies.items():
        copy_rows(plan.root, folder, clips, plan.known_contents)
    for folder, clips in plan.stale.items():
        drop_stale_rows(plan.root, folder, clips, known_contents=plan.known_contents)
    if plan.replan is None or not (plan.stale or plan.copies):
        return plan
    copied = max((clips.num_rows for clips in plan.copies.values()), default=0)
    if plan.changed:
        logger.info(f"extract: {plan.changed} clips changed since they were computed")
    if copied:
        logger.info(f"extract: {copied} clips have the content of others, whose rows are copied")
    return plan.replan()


def tidy(plan: Plan) -> None:
    """Merge small shards, take recovered clips out of the rejects, and make the plan's folders the current ones.

    Args:
        plan: Plan of the extraction that is done.
    """
    for folder in plan.folders.values():
        compact(plan.root, *folder, run_each=run_in_tasks)
    compact(plan.root, *REJECTS_FOLDER, without=_find_recovered(plan), run_each=run_in_tasks)
    entries = {tier.name: plan.make_entry(tier) for tier in plan.tiers}
    update_tier_index(plan.root, {**entries, METADATA_TABLE: TierEntry(plan.folders[METADATA_TABLE][1])})


def _find_recovered(plan: Plan) -> pa.ChunkedArray:
    """Rejects that have the plan's tiers now; those that a tier failed must have all tiers that the root holds."""
    rejects = plan.root.read_shards(*REJECTS_FOLDER, columns=["clip_id", "stage"])
    if rejects is None:
        return NO_CLIP_IDS
    folders = [plan.folders[tier.name] for tier in plan.tiers]
    others = [plan.tier_index[tier].path for tier in select_computed(plan.tier_index) if tier not in plan.folders]
    of_tier = pc.starts_with(rejects["stage"], "tier")
    of_decoding = pc.and_(pc.invert(of_tier), pc.not_equal(rejects["stage"], LISTING))
    recovered = [
        _ids_in_all_folders(plan.root, rejects.filter(of_decoding)["clip_id"], folders),
        _ids_in_all_folders(plan.root, rejects.filter(of_tier)["clip_id"], [*folders, *others]),
    ]
    return pa.chunked_array([chunk for ids in recovered for chunk in ids.chunks], pa.string())


def _ids_in_all_folders(root: Root, ids: pa.ChunkedArray, folders: Sequence[Folder]) -> pa.ChunkedArray:
    for folder in folders if len(ids) else ():
        ids = ids.filter(pc.is_in(ids, value_set=root.read_ids(*folder)))
    return ids
