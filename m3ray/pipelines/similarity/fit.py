"""The similarity tier: each measure fitted on the train split in a Ray task, applied to the other clips by Ray Data."""

from __future__ import annotations

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
from m3ray.console import say
from m3ray.errors import StudyError
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.similarity.inputs import CODE_VERSION, Clips
from m3ray.schema import SIMILARITY, vector_schema
from m3ray.similarity import MEASURES, Projection
from m3ray.similarity.fitted import FittedSimilarity, label_matrix, project
from m3ray.storage.compaction import replace_shards
from m3ray.storage.root import Root
from m3ray.storage.tier_index import current_tiers, remember_tiers
from m3ray.storage.versions import KEY as ENVIRONMENTS
from m3ray.storage.versions import software

# A fit holds the projected rows, their labels and a block of pairs; t-SNE's neighbours are the largest part.
_BYTES_A_CLIP, _BYTES_A_FIT, _MOST_BYTES = 20_000, 600 * 1024**2, 16 * 1024**3


def similarity_tier(root: Root, catalogue: pa.Table, config: SimilarityConfig, on: Resources) -> None:
    """The measure that M3-S uses: fits it and writes `features/similarity-*`, unless the root has just that.

    Raises:
        StudyError: it cannot be fitted on these clips.
    """
    clips = Clips.of(root, catalogue, config)
    skipped = _measure(clips, {SIMILARITY: config}, on)
    if skipped:
        raise StudyError(f"similarity: {skipped[SIMILARITY]}")


def every_measure(root: Root, catalogue: pa.Table, config: SimilarityConfig, on: Resources) -> dict[str, str]:
    """Every measure there is, each as a tier `similarity:NAME` of its own; `config`'s is the tier `similarity` already.

    Returns:
        The measures that cannot be fitted on these clips, and why.
    """
    clips = Clips.of(root, catalogue, config)
    wanted = {f"{SIMILARITY}:{name}": replace(config, measure=name) for name in MEASURES if name != config.measure}
    skipped = _measure(clips, wanted, on)
    for tier, reason in skipped.items():
        say(f"similarity: {tier.partition(':')[2]} skipped: {reason}")
    return {tier.partition(":")[2]: reason for tier, reason in skipped.items()}


def fitted_similarity(root: Root, folder: str) -> FittedSimilarity:
    """The fitted state behind a similarity folder."""
    return FittedSimilarity.from_bytes(
        root.read_bytes("artifacts", f"{folder}.safetensors"), root.read_bytes("artifacts", f"{folder}.json")
    )


def _measure(clips: Clips, wanted: Mapping[str, SimilarityConfig], on: Resources) -> dict[str, str]:
    """Fits and applies what the root lacks; tier to the reason why it could not be fitted."""
    missing = {tier: config for tier, config in wanted.items() if not clips.has(clips.folder(config))}
    cached = [config.measure for tier, config in wanted.items() if tier not in missing]
    if cached:
        say(f"similarity: {len(clips.rows)} clips cached ({', '.join(cached)})")
    _tell_changed(clips, missing)
    found, skipped = _fit(clips, missing, on) if missing else ({}, {})
    applied = _apply(clips, found) if found else {}
    for tier, table in applied.items():
        _write(clips, wanted[tier], found[tier], table)
    _remember(clips, {tier: config for tier, config in wanted.items() if tier not in skipped})
    return skipped


def _tell_changed(clips: Clips, missing: Mapping[str, SimilarityConfig]) -> None:
    current = current_tiers(clips.root)
    changed = [clips.changed(("features", current[tier]["folder"])) for tier in missing if tier in current]
    if any(changed):
        say(f"similarity: {max(changed)} clips changed since it was fitted: fitted and applied anew")


def _fit(
    clips: Clips, wanted: Mapping[str, SimilarityConfig], on: Resources
) -> tuple[dict[str, FittedSimilarity], dict[str, str]]:
    """Every measure in a task of its own, over one projection that all share."""
    rows = len(clips.train)
    memory = min(_BYTES_A_FIT + _BYTES_A_CLIP * rows, _MOST_BYTES)
    resources = {"num_cpus": 1, "num_gpus": 0.25 if on.gpus else 0, "memory": memory}
    names = ", ".join(config.measure for config in wanted.values())
    say(
        f"similarity: fitting {names} on {rows} train clips of {', '.join(clips.sources)}; each a task of 1 CPU"
        f"{', a quarter of a GPU' if on.gpus else ''} and {memory / 2**30:.1f} GiB"
    )
    vectors = clips.of_ids([row["clip_id"] for row in clips.train])
    projections = ray.put(ray.get(_project_task.options(**resources).remote(clips.config, vectors)))
    labels = ray.put([row["labels"] or [] for row in clips.train])
    tasks = {tier: _fit_task.options(**resources).remote(c, projections, labels) for tier, c in wanted.items()}
    found, skipped = {}, {}
    for tier, task in tasks.items():
        fitted, said = ray.get(task)
        if fitted is None:
            skipped[tier] = said[0]
            continue
        found[tier] = fitted
        for text in said:
            say(f"similarity: {wanted[tier].measure}: warning: {text}")
    return found, skipped


Projected = dict[str, tuple[Projection, np.ndarray]]


@ray.remote
def _project_task(config: SimilarityConfig, train: dict[str, np.ndarray]) -> Projected:
    return project(config, train)


@ray.remote
def _fit_task(
    config: SimilarityConfig, projected: Projected, labels: list[list[str]]
) -> tuple[FittedSimilarity | None, list[str]]:
    """The fit and its warnings; None and the reason where it cannot be had on these clips."""
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


def _apply(clips: Clips, fitted: Mapping[str, FittedSimilarity]) -> dict[str, pa.Table]:
    """The rows of every clip: of the train split leave-one-out, of the others in one pass of Ray Data."""
    train = [row["clip_id"] for row in clips.train]
    tables = {tier: [_table(train, model.transform_train())] for tier, model in fitted.items()}
    if clips.others:
        columns: dict[str, Any] = {"clip_id": clips.others}
        columns |= {tier: [r.tobytes() for r in rows] for tier, rows in clips.of_ids(clips.others).items()}
        data = ray.data.from_arrow(pa.table(columns))
        data = data.map_batches(
            partial(_transform, fitted=ray.put(dict(fitted))), batch_size=1024, batch_format="pyarrow"
        )
        done = pa.concat_tables(ray.get(data.to_arrow_refs()))
        for tier in fitted:
            vectors = np.stack([np.frombuffer(row, np.float32) for row in done[tier].to_pylist()])
            tables[tier].append(_table(done["clip_id"].to_pylist(), vectors))
    return {tier: pa.concat_tables(parts).sort_by("clip_id") for tier, parts in tables.items()}


def _transform(batch: pa.Table, fitted: ray.ObjectRef) -> pa.Table:
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


def _table(ids: list[str], values: np.ndarray) -> pa.Table:
    schema = vector_schema(SIMILARITY, values.shape[1])
    flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
    column = pa.FixedSizeListArray.from_arrays(flat, type=schema.field(SIMILARITY).type)
    return pa.Table.from_arrays([pa.array(ids, pa.string()), column], schema=schema)


def _write(clips: Clips, config: SimilarityConfig, fitted: FittedSimilarity, table: pa.Table) -> None:
    """The features and the fitted state; its JSON last, so that what has one is complete."""
    root, folder = clips.root, clips.folder(config)
    tensors, text = fitted.to_bytes()
    root.write_bytes(tensors, "artifacts", f"{folder[1]}.safetensors")
    metadata = {"config": config, "columns": fitted.columns, "one_hot": fitted.one_hot, "folder": folder[1]}
    metadata[ENVIRONMENTS] = [software()]
    replace_shards(root, clips.stamped(table), folder, metadata)
    root.write_bytes(text, "artifacts", f"{folder[1]}.json")
    for tier, facts in fitted.summary().items():
        say(f"similarity: {config.measure}: {tier}: " + ", ".join(f"{k} {_short(v)}" for k, v in facts.items()))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _remember(clips: Clips, done: Mapping[str, SimilarityConfig]) -> None:
    untrained = any(current_tiers(clips.root)[tier]["untrained"] for tier in clips.sources)
    entries = {}
    for tier, config in done.items():
        identity = {"tier": tier, "code": CODE_VERSION, "config": as_json(config), "sources": clips.sources}
        entries[tier] = {"folder": clips.folder(config)[1], "untrained": untrained, "identity": identity}
    remember_tiers(clips.root, entries)
