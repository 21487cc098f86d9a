"""Maps of clips that were scored, on Ray: which clips, in what workers, and what a rerun leaves as it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config.compute import ComputeConfig
from m3ray.config.explain_options import ExplainConfig
from m3ray.config.options import PredictOptions
from m3ray.config.serialization import as_json, fingerprint
from m3ray.datasets.clip_contents import clip_stamps
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.progress import Progress
from m3ray.pipelines.scoring.map_worker import MapSettings, MapWork, MapWorker
from m3ray.pipelines.scoring.worker_pool import RayWorkers, Workers, compute_clips
from m3ray.request.explain import ALL_CLIPS, check_occludable
from m3ray.schema import feature_names, is_captions
from m3ray.scoring.ends import CLIPS_PER_END, choose_ends
from m3ray.scoring.explanations.differentiable import check_gradients
from m3ray.scoring.explanations.explained_files import identify_source, read_explained, remove_explained, write_failure
from m3ray.scoring.explanations.parts import check_config
from m3ray.scoring.open_bundle import AnyBundle
from m3ray.storage.beside_predictions import EXPLANATIONS, place_beside
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root
from m3ray.storage.tier_index import read_tier_table
from m3ray.storage.vector_columns import column_values
from m3ray.tiers import Tier

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

CODE_VERSION = 1
"""Changed with what a map is made by, so that maps of before are made again."""
_WAITING = "workers that map clips (`ray status` shows what is pending)"


@dataclass(frozen=True)
class MapRequest:
    """Clips that are to be mapped, and where what is known of them lies.

    Args:
        bundle: The bundle that scored them.
        workspace: Root, or workspace, with their catalogue.
        folder: Folder of the maps.
        origin: What the files of maps say of how they were made.
        options: Options of the job.
    """

    bundle: AnyBundle
    workspace: Root
    folder: Root
    origin: dict[str, Any]
    options: PredictOptions

    @property
    def source(self) -> str:
        """Fingerprint of the bundle and the catalogue."""
        return identify_source(self.bundle, str(self.origin.get("catalogue", "")))

    @property
    def config(self) -> ExplainConfig:
        """How maps are computed."""
        return self.options.explanations


def find_maps(root: Root, predictions: Sequence[str]) -> Root:
    """Find the folder of the maps that belong to a file of scores.

    Args:
        root: Root of the job.
        predictions: Path parts of the file of scores below the root.
    Returns:
        The folder, which may not exist.
    """
    return root.subroot(*place_beside(predictions, EXPLANATIONS))


def check_maps(bundle: AnyBundle, tiers: Sequence[Tier], config: ExplainConfig) -> None:
    """Check, before any work, that a bundle's scores can be mapped as asked for.

    Args:
        bundle: The bundle.
        tiers: Those of its tiers that are computed.
        config: How maps are computed.
    Raises:
        ConfigError: If it computes no tier, a setting makes no sense, or gradients are asked for and a part has none.
    """
    check_occludable(bundle.name, [tier.name for tier in tiers])
    check_config(config)
    if config.method == "gradient":
        check_gradients(bundle, tiers)


def describe_plan(options: PredictOptions, clips: int) -> str:
    """Say what maps would be made.

    Args:
        options: Options of the job.
        clips: Number of clips in the catalogue.
    Returns:
        A line.
    """
    chosen, config = options.explain_clips, options.explanations
    count = len(set(chosen)) if chosen and chosen != (ALL_CLIPS,) else clips
    count = count if chosen else min(count, 2 * CLIPS_PER_END)
    if config.method == "gradient":
        return f"plan: maps of {count} clips by gradients"
    return f"plan: maps of {count} clips, up to {config.budget} evaluations each, {count * config.budget:,} in all"


def explain(request: MapRequest, scores: pd.DataFrame, resources: Resources) -> None:
    """Map the clips that are asked for, but those that have a map already, and write the maps.

    Args:
        request: The clips, and where the maps go.
        scores: The clips' scores: `clip_id`, `score`, `split`.
        resources: CPUs and GPUs of the cluster.
    Raises:
        M3RayError: If workers cannot open the bundle.
    """
    chosen, unscored = choose_clips(request.options.explain_clips, scores)
    for clip in unscored:
        reason = "it has no score: it was rejected, and rejects/ says why"
        row = {"clip_id": clip, "source": request.source, "reason": reason}
        write_failure(request.folder, row, request.origin)
    work = plan_work(request, chosen)
    logger.info(f"explain: {len(work)} clips to map, {len(chosen) - len(work)} have a map already")
    if not work:
        return
    settings = make_settings(request, resources)
    workers: Workers[MapWork, dict[str, Any]] = start_workers(settings, len(work), request.options.compute, resources)
    count = min(len(work), resources.actors(request.options.compute))
    rows = compute_clips(workers, work, count, request.options.limits.crash_count, _make_give_up(settings))
    failed = _track(rows, len(work))
    logger.info(f"explain: {len(work) - len(failed)} clips mapped: {request.folder.uri}")
    for row in failed:
        logger.warning(f"explain: {row['clip_id']} has no map: {row['reason']}")


def choose_clips(wanted: Sequence[str], scores: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Choose the clips to map.

    Args:
        wanted: Ids of the clips that are asked for; `all` for every one; empty: those at both ends of the scores.
        scores: The clips' scores: `clip_id`, `score`, `split`.
    Returns:
        Ids of the clips to map, the most memorable first; and of those that are asked for and have no score.
    """
    ordered = scores[scores["score"].notna()].sort_values("score", ascending=False, kind="stable")
    if not wanted:
        return choose_ends(ordered)["clip_id"].tolist(), []
    if tuple(wanted) == (ALL_CLIPS,):
        return ordered["clip_id"].tolist(), []
    asked = dict.fromkeys(wanted)
    held = set(ordered["clip_id"])
    return ordered["clip_id"][ordered["clip_id"].isin(asked)].tolist(), [clip for clip in asked if clip not in held]


def plan_work(request: MapRequest, chosen: Sequence[str]) -> list[MapWork]:
    """List the clips that have no map of these settings, this bundle and this content.

    Args:
        request: The clips, and where the maps go.
        chosen: Ids of the clips to map.
    Returns:
        What is to be mapped, in the order of `chosen`.
    """
    work = _describe_clips(request, chosen)
    done = {row["clip_id"] for row in read_explained(request.folder, chosen).to_pylist() if _is_done(row, work)}
    return [work[clip] for clip in chosen if clip in work and clip not in done]


def _describe_clips(request: MapRequest, clips: Sequence[str]) -> dict[str, MapWork]:
    """Each clip as it is to be mapped; its stamp says by what settings, and after a dash of what content.

    Clips that are not in the catalogue are left out.
    """
    catalogue = read_catalogue(request.workspace)
    rows = catalogue.filter(pc.is_in(catalogue["clip_id"], value_set=pa.array(clips, catalogue["clip_id"].type)))
    contents = clip_stamps(request.workspace, rows).to_pylist()
    ids, uris = rows["clip_id"].to_pylist(), rows["uri"].to_pylist()
    provided = read_user_tiers(request.workspace, _list_given(request.bundle), ids)
    made_by = fingerprint(CODE_VERSION, request.source, as_json(request.config))
    work = {}
    for clip, uri, content, tiers in zip(ids, uris, contents, provided, strict=True):
        values = {name: {k: v.tolist() for k, v in columns.items()} for name, columns in tiers.items()}
        work[clip] = MapWork(clip, uri, f"{made_by}-{fingerprint(content or uri, values)}", tiers)
    return work


def _list_given(bundle: AnyBundle) -> list[str]:
    """The tiers that no frame changes: users' own, and captions."""
    provided = list(bundle.metadata.user_provided)
    return [*provided, *(tier for tier in bundle.tiers if is_captions(tier) and tier not in provided)]


def read_user_tiers(
    workspace: Root, tiers: Sequence[str], clips: Sequence[str]
) -> list[dict[str, dict[str, np.ndarray]]]:
    """Read what users provide of clips: no change of a frame changes it, but their scores need it.

    Args:
        workspace: Root, or workspace, with the clips' features.
        tiers: Names of the user-provided tiers that the bundle sees.
        clips: Ids of the clips.
    Returns:
        Of each clip, name of each tier that it has to its columns, each to the clip's values, (1,) or (1, width).
    """
    found: list[dict[str, dict[str, np.ndarray]]] = [{} for _ in clips]
    for tier in tiers if clips else ():
        table = read_tier_table(workspace, tier)
        rows = pc.index_in(pa.array(clips, pa.string()), value_set=table["clip_id"].cast(pa.string()))
        holders = [clip for clip, row in zip(found, rows.to_pylist(), strict=True) if row is not None]
        for name in feature_names(table.schema):
            values = column_values(table[name].take(rows.drop_null()))
            for clip, value in zip(holders, values, strict=True):
                clip.setdefault(tier, {})[name] = np.asarray(value)[None]
    return found


def _is_done(row: dict[str, Any], work: dict[str, MapWork]) -> bool:
    clip = work.get(row["clip_id"])
    return clip is not None and row["reason"] is None and row["stamp"] == clip.stamp


def drop_other_maps(request: MapRequest) -> None:
    """Remove maps that explain other scores than there are now: of other clips or contents, or by another bundle.

    Maps by other settings stay: they explain these scores. Reasons of clips that had no score go.

    Args:
        request: The clips, and where their maps go.
    """
    rows = read_explained(request.folder).select(["clip_id", "source", "stamp"]).to_pylist()
    if not rows:
        return
    now = _describe_clips(request, [row["clip_id"] for row in rows])
    other = [row["clip_id"] for row in rows if row["source"] != request.source or not _has_content(row, now)]
    remove_explained(request.folder, other)


def _has_content(row: dict[str, Any], now: dict[str, MapWork]) -> bool:
    """Whether a clip is now what it was when its map was made."""
    clip = now.get(row["clip_id"])
    return clip is not None and (row["stamp"] or "").rpartition("-")[2] == clip.stamp.rpartition("-")[2]


def make_settings(request: MapRequest, resources: Resources) -> MapSettings:
    """Make what every worker is made with.

    Args:
        request: The clips, and where the maps go.
        resources: CPUs and GPUs of the cluster.
    Returns:
        The settings.
    """
    options, bundle = request.options, request.bundle
    origin = {**request.origin, "explanations": as_json(request.config)}
    return MapSettings(
        bundle=bundle.uri or bundle.name,
        config=request.config,
        folder=request.folder,
        source=request.source,
        origin=origin,
        limits=options.limits,
        allow_other_weights=options.allow_other_weights,
        gpu=bool(resources.gpus),
        threads=resources.threads(options.compute),
    )


def start_workers(settings: MapSettings, clips: int, compute: ComputeConfig, resources: Resources) -> Any:
    """Make what starts workers on Ray, each with the share of a CPU or a GPU that a tier's worker has.

    Args:
        settings: What every worker is made with.
        clips: Number of clips to map.
        compute: How the work is laid over processors.
        resources: CPUs and GPUs of the cluster.
    Returns:
        The workers.
    """
    if resources.gpus:
        return RayWorkers(MapWorker, settings, num_gpus=1 / resources.actors_per_gpu(compute), num_cpus=0.5)
    count = min(clips, resources.actors(compute))
    return RayWorkers(MapWorker, settings, num_cpus=min(1.0, resources.cpus / count))


def _make_give_up(settings: MapSettings) -> Any:
    def give_up(clip: MapWork, reason: str) -> dict[str, Any]:
        row = {"clip_id": clip.clip_id, "source": settings.source, "stamp": clip.stamp, "reason": reason}
        return write_failure(settings.folder, row, settings.origin)

    return give_up


def _track(rows: Iterator[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Count the clips as they come; return the rows of those without a map."""
    failed = []
    with Progress("explain", count, _WAITING) as progress:
        for row in rows:
            progress.add(int(row["reason"] is None), int(row["reason"] is not None), {"map": row["seconds"] or 0.0})
            failed += [row] if row["reason"] is not None else []
    return failed
