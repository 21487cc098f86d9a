"""Scoring: new clips through a bundle's own tiers, or a root's clips from the features that it has."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.data.rooms import current_tiers, tier_table
from m3ray.data.store import Root
from m3ray.pipelines.progress import say
from m3ray.tiers.factory import computed
from m3ray.training.bundle import Bundle
from m3ray.training.scorer import bundle_features, bundle_similarity, similarity_columns

NAME = "predictions.parquet"
_CHUNK = 20_000  # clips scored at once: bounds the matrix to a few hundred MB


def score_root(bundle: Bundle, features: Root, out: Root) -> pd.DataFrame:
    """Scores every clip whose tiers `features` holds, and writes `predictions.parquet` under `out`."""
    fitted = bundle_similarity(bundle)
    # Similarity is computed from the bundle's own fit: rows of the train split then have no leave-one-out either.
    names = computed(current_tiers(features))
    needed = [t for t in names if t in bundle.tiers or (fitted is not None and t in fitted.parts)]
    tables = {tier: tier_table(features, tier) for tier in needed}
    ids = sorted(set.intersection(*(set(t["clip_id"].to_pylist()) for t in tables.values())))
    frames = [_score(bundle, tables, ids[k : k + _CHUNK]) for k in range(0, len(ids), _CHUNK)]
    frame = pd.concat(frames, ignore_index=True)
    metadata = {b"m3ray": f'{{"bundle": "{bundle.name}", "untrained": {str(bundle.untrained).lower()}}}'.encode()}
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(metadata)
    out.write_table(table, NAME)
    say(f"predict: {len(frame)} clips scored by {bundle.name}: {out.display(NAME)}")
    return frame


def _score(bundle: Bundle, tables: Mapping[str, pa.Table], ids: list[str]) -> pd.DataFrame:
    columns: dict[str, np.ndarray] = {}
    wanted = pa.array(ids, pa.string())
    for tier, table in tables.items():
        rows = table.take(pc.index_in(wanted, table["clip_id"].combine_chunks()))
        for name in rows.column_names[1:]:
            columns[f"{tier}/{name}"] = _values(rows[name].combine_chunks())
    fitted = bundle_similarity(bundle)
    if fitted is not None:
        columns |= similarity_columns(fitted, columns)
    return bundle.score(bundle_features(bundle, ids, columns))


def _values(column: pa.Array) -> np.ndarray:
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
    return column.to_numpy(zero_copy_only=False)
