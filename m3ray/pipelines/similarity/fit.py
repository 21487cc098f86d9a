"""Similarity tiers: each measure is fitted on the train split in a Ray task, and applied to the others by Ray Data."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data

from m3ray.config import SimilarityConfig, as_json
from m3ray.console import log_details
from m3ray.errors import StudyError
from m3ray.pipelines.runtime.assigned_gpus import hide_gpus
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.devices import take_assigned_device
from m3ray.pipelines.similarity.inputs import SimilarityClips, code_version
from m3ray.schema import SIMILARITY, vector_schema
from m3ray.similarity import MEASURES, Projection
from m3ray.similarity.fitted import FittedSimilarity, label_matrix, project
from m3ray.storage.compaction import replace_shards
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, read_tier_index, update_tier_index
from m3ray.storage.versions import KEY as ENVIRONMENTS
from m3ray.storage.versions import software_versions

logger = logging.getLogger(__name__)

# A fit holds the projected rows, their labels and a block of pairs; t-SNE's neighbours are the largest part.
_BYTES_A_CLIP, _BYTES_A_FIT, _MAX_BYTES = 20_000, 600 * 1024**2, 16 * 1024**3


def fit_similarity_tier(root: Root, catalogue: pa.Table, config: SimilarityConfig, resources: Resources) -> None:
    """Fit the measure that M3-S uses and write `features/similarity-*`, unless the root has just that.

    Args:
        root: Root with the vector tiers.
        catalogue: Catalogue of the root: `clip_id`, `split`, `labels`.
        config: Settings of the measure.
        resources: CPUs and GPUs of the cluster.
    Raises:
        StudyError: If it cannot be fitted on these clips.
    """
    clips = SimilarityClips.read(root, catalogue, config)
    skipped = _fit_missing(clips, {SIMILARITY: config}, resources)
    if skipped:
        raise StudyError(f"similarity: {skipped[SIMILARITY]}")


def fit_every_measure(
    root: Root, catalogue: pa.Table, config: SimilarityConfig, resources: Resources
) -> dict[str, str]:
    """Fit every measure but the one of M3-S, each as a tier `similarity:NAME`.

    Args:
        root: Root with the vector tiers.
        catalogue: Catalogue of the root: `clip_id`, `split`, `labels`.
        config: Settings of the measure of M3-S, which the others take over.
        resources: CPUs and GPUs of the cluster.
    Returns:
        Name of each measure that cannot be fitted on these clips to the reason.
    """
    clips = SimilarityClips.read(root, catalogue, config)
    wanted = {f"{SIMILARITY}:{name}": replace(config, measure=name) for name in MEASURES if name != config.measure}
    skipped = _fit_missing(clips, wanted, resources)
    for tier, reason in skipped.items():
        logger.info(f"similarity: {tier.partition(':')[2]} skipped: {reason}")
    return {tier.partition(":")[2]: reason for tier, reason in skipped.items()}


def _fit_missing(
    clips: SimilarityClips, wanted: Mapping[str, SimilarityConfig], resources: Resources
) -> dict[str, str]:
    """Fit and apply what the root lacks; return each tier that cannot be fitted, and why."""
    missing = {tier: config for tier, config in wanted.items() if not clips.has_current(clips.folder(config))}
    cached = [config.measure for tier, config in wanted.items() if tier not in missing]
    if cached:
        logger.info(f"similarity: {len(clips.rows)} clips cached ({', '.join(cached)})")
    _report_changes(clips, missing)
    fits, skipped = _fit(clips, missing, resources) if missing else ({}, {})
    features = _apply(clips, fits) if fits else {}
    for tier, table in features.items():
        _write(clips, wanted[tier], fits[tier], table)
    _update_index(clips, {tier: config for tier, config in wanted.items() if tier not in skipped})
    return skipped


def _report_changes(clips: SimilarityClips, missing: Mapping[str, SimilarityConfig]) -> None:
    index = read_tier_index(clips.root)
    changed = [clips.count_changed(index[tier].path) for tier in missing if tier in index]
    if any(changed):
        logger.info(f"similarity: {max(changed)} clips changed since it was fitted: fitted and applied anew")


def _fit(
    clips: SimilarityClips, wanted: Mapping[str, SimilarityConfig], resources: Resources
) -> tuple[dict[str, FittedSimilarity], dict[str, str]]:
    """Fit each measure in a task of its own, over one projection that all share; the second part as `_fit_missing`."""
    rows = len(clips.train)
    request = request_fit_resources(rows, resources)
    names = ", ".join(config.measure for config in wanted.values())
    logger.info(
        f"similarity: fitting {names} on {rows} train clips of {', '.join(clips.sources)}; each a task of 1 CPU"
        f"{', a quarter of a GPU' if resources.gpus else ''} and {request['memory'] / 2**30:.1f} GiB"
    )
    vectors = clips.select_vectors([row["clip_id"] for row in clips.train])
    projections = ray.put(ray.get(_project_task.options(**request).remote(clips.config, vectors)))
    labels = ray.put([row["labels"] or [] for row in clips.train])
    tasks = {tier: _fit_task.options(**request).remote(c, projections, labels) for tier, c in wanted.items()}
    fits, skipped = {}, {}
    for tier, task in tasks.items():
        fitted, messages = ray.get(task)
        if fitted is None:
            skipped[tier] = messages[0]
            continue
        fits[tier] = fitted
        for text in messages:
            logger.warning(f"similarity: {wanted[tier].measure}: warning: {text}")
    return fits, skipped


def request_fit_resources(clips: int, resources: Resources) -> dict[str, float]:
    """Resources of a task that fits a measure.

    Args:
        clips: Number of train clips.
        resources: CPUs and GPUs of the cluster.
    Returns:
        Options of a Ray task: a CPU, a quarter of a GPU where there are any, and memory in bytes.
    """
    memory = min(_BYTES_A_FIT + _BYTES_A_CLIP * clips, _MAX_BYTES)
    return {"num_cpus": 1, "num_gpus": 0.25 if resources.gpus else 0, "memory": memory}


Projected = dict[str, tuple[Projection, np.ndarray]]


@ray.remote
def _project_task(config: SimilarityConfig, train: dict[str, np.ndarray]) -> Projected:
    take_assigned_device()
    return project(config, train)


@ray.remote
def _fit_task(
    config: SimilarityConfig, projected: Projected, labels: list[list[str]]
) -> tuple[FittedSimilarity | None, list[str]]:
    """The fit and its warnings; None and the reason where it is impossible on these clips."""
    take_assigned_device()
    matrix, names = label_matrix(labels)
    # Object-store arrays are read-only; scikit-learn's t-SNE wants its own.
    own = {tier: (projection, np.array(rows)) for tier, (projection, rows) in projected.items()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            fitted = FittedSimilarity.fit_projected(config, own, matrix if names else None, names)
        except StudyError as error:
            return None, [str(error)]
    return fitted, [str(w.message) for w in caught if issubclass(w.category, UserWarning)]


def _apply(clips: SimilarityClips, fitted: Mapping[str, FittedSimilarity]) -> dict[str, pa.Table]:
    """Features of every clip by tier: leave-one-out of the train split, of the others in one pass of Ray Data."""
    train = [row["clip_id"] for row in clips.train]
    tables = {tier: [_make_table(train, model.transform_train())] for tier, model in fitted.items()}
    if clips.others:
        columns: dict[str, Any] = {"clip_id": clips.others}
        columns |= {tier: [r.tobytes() for r in rows] for tier, rows in clips.select_vectors(clips.others).items()}
        data = ray.data.from_arrow(pa.table(columns))
        data = data.map_batches(
            partial(_transform, fitted=ray.put(dict(fitted))), batch_size=1024, batch_format="pyarrow"
        )
        done = pa.concat_tables(ray.get(data.to_arrow_refs()))
        for tier in fitted:
            vectors = np.stack([np.frombuffer(row, np.float32) for row in done[tier].to_pylist()])
            tables[tier].append(_make_table(done["clip_id"].to_pylist(), vectors))
    return {tier: pa.concat_tables(parts).sort_by("clip_id") for tier, parts in tables.items()}


def _transform(batch: pa.Table, fitted: ray.ObjectRef) -> pa.Table:
    hide_gpus()
    models: dict[str, FittedSimilarity] = ray.get(fitted)
    sources = next(iter(models.values())).parts
    vectors = {
        tier: np.stack([np.frombuffer(row, np.float32) for row in batch[tier].to_pylist()]).astype(np.float64)
        for tier in sources
    }
    columns: dict[str, Any] = {"clip_id": batch["clip_id"]}
    for tier, model in models.items():
        columns[tier] = pa.array([row.tobytes() for row in model.transform(vectors)], pa.binary())
    return pa.table(columns)


def _make_table(ids: list[str], values: np.ndarray) -> pa.Table:
    schema = vector_schema(SIMILARITY, values.shape[1])
    flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
    column = pa.FixedSizeListArray.from_arrays(flat, type=schema.field(SIMILARITY).type)
    return pa.Table.from_arrays([pa.array(ids, pa.string()), column], schema=schema)


def _write(clips: SimilarityClips, config: SimilarityConfig, fitted: FittedSimilarity, table: pa.Table) -> None:
    """Write the features and the fitted state; its JSON comes last, so that what has one is complete."""
    root, folder = clips.root, clips.folder(config)
    tensors, text = fitted.to_bytes()
    root.write_bytes(tensors, "artifacts", f"{folder[1]}.safetensors")
    metadata = {"config": config, "columns": fitted.columns, "one_hot": fitted.one_hot, "folder": folder[1]}
    metadata[ENVIRONMENTS] = [software_versions()]
    replace_shards(root, clips.add_contents(table), folder, metadata)
    root.write_bytes(text, "artifacts", f"{folder[1]}.json")
    for tier, summary in fitted.summary().items():
        numbers = ", ".join(f"{name} {_format(value)}" for name, value in summary.items())
        log_details(logger, f"similarity: {config.measure}: {tier}: {numbers}")


def _format(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _update_index(clips: SimilarityClips, done: Mapping[str, SimilarityConfig]) -> None:
    untrained = any(read_tier_index(clips.root)[tier].untrained for tier in clips.sources)
    entries = {}
    for tier, config in done.items():
        identity = {
            "tier": tier,
            "code": code_version(config.measure),
            "config": as_json(config),
            "sources": clips.sources,
        }
        entries[tier] = TierEntry(clips.folder(config)[1], untrained, identity)
    update_tier_index(clips.root, entries)
