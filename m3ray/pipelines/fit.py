"""The similarity tier: fitted on the train split in a Ray task, applied to the other clips through Ray Data."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data

from m3ray.config import SimilarityConfig, as_json, fingerprint
from m3ray.data.rooms import current_tiers, feature_folder, remember_tiers, tier_table
from m3ray.data.store import Root
from m3ray.pipelines.progress import say
from m3ray.schema import vector_schema
from m3ray.similarity.fitted import FittedSimilarity, label_matrix

CODE_VERSION = 1


def similarity_tier(root: Root, catalogue: pa.Table, config: SimilarityConfig) -> None:
    """Fits the measure and writes `features/similarity-*`, unless the root has just that."""
    sources = _sources(root, config)
    vectors = {tier: _vectors(tier_table(root, tier)) for tier in sources}
    shared = set.intersection(*(set(ids) for ids, _ in vectors.values())) if vectors else set()
    rows = [row for row in catalogue.select(["clip_id", "split", "labels"]).to_pylist() if row["clip_id"] in shared]
    train = [row for row in rows if row["split"] == "train"]
    folder = feature_folder("similarity", _fingerprint(root, sources, train, config))
    if root.ids(*folder) == {row["clip_id"] for row in rows} and root.exists("artifacts", f"{folder[1]}.json"):
        say(f"similarity: {len(rows)} clips cached ({config.measure})")
    else:
        _compute(root, config, vectors, rows, folder)
    untrained = any(current_tiers(root)[tier]["untrained"] for tier in sources)
    identity = {"tier": "similarity", "code": CODE_VERSION, "config": as_json(config), "sources": sources}
    remember_tiers(root, {"similarity": {"folder": folder[1], "untrained": untrained, "identity": identity}})


def _sources(root: Root, config: SimilarityConfig) -> list[str]:
    """The vector tiers to compare."""
    vectors = [tier for tier in current_tiers(root) if tier not in ("raw", "facts", "similarity")]
    return [tier for tier in config.sources if tier in vectors] or vectors


def fitted_similarity(root: Root, folder: str) -> FittedSimilarity:
    """The fitted state behind a similarity folder."""
    return FittedSimilarity.from_bytes(
        root.read_bytes("artifacts", f"{folder}.safetensors"), root.read_bytes("artifacts", f"{folder}.json")
    )


def _fingerprint(root: Root, sources: list[str], train: list[dict[str, Any]], config: SimilarityConfig) -> str:
    current = current_tiers(root)
    # The fit depends on which clips are in the train split and on their labels.
    clips = hashlib.sha256(json.dumps(sorted((r["clip_id"], r["labels"]) for r in train)).encode()).hexdigest()
    return fingerprint("similarity", CODE_VERSION, config, [current[tier]["folder"] for tier in sources], clips)


def _vectors(table: pa.Table) -> tuple[list[str], np.ndarray]:
    """Clip ids, and all columns side by side: (N, D)."""
    columns = [table[name].combine_chunks() for name in table.column_names if name != "clip_id"]
    parts = [column.flatten() if column.type.num_fields else column for column in columns]
    return table["clip_id"].to_pylist(), np.concatenate([p.to_numpy().reshape(len(table), -1) for p in parts], axis=1)


def _compute(
    root: Root,
    config: SimilarityConfig,
    vectors: Mapping[str, tuple[list[str], np.ndarray]],
    rows: list[dict[str, Any]],
    folder: tuple[str, str],
) -> None:
    train = [row for row in rows if row["split"] == "train"]
    others = [row["clip_id"] for row in rows if row["split"] != "train"]
    say(f"similarity: fitting {config.measure} on {len(train)} train clips, applying it to {len(others)} more")
    chosen = {tier: _rows(*pair, [row["clip_id"] for row in train]) for tier, pair in vectors.items()}
    fitted, warned = ray.get(_fit_task.remote(config, chosen, [row["labels"] or [] for row in train]))
    for text in warned:
        say(f"similarity: warning: {text}")
    tables = [_table([row["clip_id"] for row in train], fitted.transform_train())]
    if others:
        tables.append(_apply(fitted, {tier: _rows(*pair, others) for tier, pair in vectors.items()}, others))
    root.write_bytes(fitted.to_bytes()[0], "artifacts", f"{folder[1]}.safetensors")
    metadata = {"config": config, "columns": fitted.columns, "one_hot": fitted.one_hot, "folder": folder[1]}
    root.write_shard(pa.concat_tables(tables).sort_by("clip_id"), folder, metadata)
    root.write_bytes(fitted.to_bytes()[1], "artifacts", f"{folder[1]}.json")
    for tier, facts in fitted.summary().items():
        say(f"similarity: {tier}: " + ", ".join(f"{k} {_short(v)}" for k, v in facts.items()))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _rows(ids: list[str], matrix: np.ndarray, wanted: list[str]) -> np.ndarray:
    position = {name: k for k, name in enumerate(ids)}
    return matrix[[position[name] for name in wanted]]


@ray.remote(num_cpus=1)
def _fit_task(
    config: SimilarityConfig, train: dict[str, np.ndarray], labels: list[list[str]]
) -> tuple[FittedSimilarity, list[str]]:
    matrix, names = label_matrix(labels)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        # Object-store arrays are read-only; scikit-learn's t-SNE wants its own.
        own = {tier: np.array(rows, np.float64) for tier, rows in train.items()}
        fitted = FittedSimilarity.fit(config, own, matrix if names else None, names)
    return fitted, [str(w.message) for w in caught if issubclass(w.category, UserWarning)]


def _apply(fitted: FittedSimilarity, vectors: Mapping[str, np.ndarray], ids: list[str]) -> pa.Table:
    columns: dict[str, Any] = {"clip_id": ids}
    columns |= {tier: [row.tobytes() for row in rows] for tier, rows in vectors.items()}
    data = ray.data.from_arrow(pa.table(columns))
    data = data.map_batches(partial(_transform, fitted=ray.put(fitted)), batch_size=1024, batch_format="pyarrow")
    return pa.concat_tables(ray.get(data.to_arrow_refs()))


def _transform(batch: pa.Table, fitted: ray.ObjectRef) -> pa.Table:
    model: FittedSimilarity = ray.get(fitted)
    vectors = {
        tier: np.stack([np.frombuffer(row, np.float32) for row in batch[tier].to_pylist()]).astype(np.float64)
        for tier in model.parts
    }
    return _table(batch["clip_id"].to_pylist(), model.transform(vectors))


def _table(ids: list[str], values: np.ndarray) -> pa.Table:
    schema = vector_schema("similarity", values.shape[1])
    flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
    column = pa.FixedSizeListArray.from_arrays(flat, type=schema.field("similarity").type)
    return pa.Table.from_arrays([pa.array(ids, pa.string()), column], schema=schema)
