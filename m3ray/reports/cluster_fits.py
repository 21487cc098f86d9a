"""Clusters of vector tiers that no similarity measure was fitted on: found for the figures alone, once, and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from m3ray.config import fingerprint
from m3ray.errors import StudyError
from m3ray.schema import METADATA_TABLE, PRETRAINED, SIMILARITY
from m3ray.similarity.clustering import check_distinct, cluster_rows
from m3ray.similarity.projection import Projection
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, read_tier_table
from m3ray.storage.vector_columns import column_values
from m3ray.tiers.finetuned import FINETUNED_PREFIX

MOST_CLIPS = 1000
"""Train clips that are clustered for a figure: t-SNE of a thousand takes seconds, of ten thousand minutes."""
_COMPONENTS = 10  # as the measures project to
_FEWEST_COLUMNS = 3  # of fewer a plane shows no more than a scatter plot of the columns themselves
_FEWEST_CLIPS = 10
_FOLDER = ("report", "clusters")
_CODE_VERSION = 1


def list_vector_tiers(index: Mapping[str, TierEntry]) -> list[str]:
    """List the tiers of a root whose vectors tell what a clip shows.

    Args:
        index: the root's tier index.
    Returns:
        Their names: networks', captions and user-provided ones, but not the raw features, what was derived from other
        tiers, and pretrained scorers, whose vectors are made for the score.
    """
    others = ("raw", METADATA_TABLE, *PRETRAINED)
    return [
        tier
        for tier in index
        if tier not in others and tier.partition(":")[0] != SIMILARITY and not tier.startswith(FINETUNED_PREFIX)
    ]


TierClusters = tuple[list[str], np.ndarray, np.ndarray]


def find_tier_clusters(root: Root, tier: str, train: Sequence[str]) -> TierClusters | str:
    """Find the clusters of a vector tier as the DBSCAN measure does, in a sample where clips are many.

    Args:
        root: root that holds the tier.
        tier: name of the tier.
        train: ids of the train clips.
    Returns:
        Ids of N clips, their places in the t-SNE space, (N, 3 at most), and their clusters, (N,), -1 for none; or why
        there are none.
    """
    try:
        ids, vectors = _read_vectors(root, tier, train)
    except StudyError:
        return f"{tier}: its features are gone"
    if vectors.shape[1] < _FEWEST_COLUMNS:
        return f"{tier}: it has {vectors.shape[1]} columns, {_FEWEST_COLUMNS} are the fewest"
    if len(ids) < _FEWEST_CLIPS:
        return f"{tier}: {len(ids)} train clips have it, {_FEWEST_CLIPS} are the fewest"
    digest = hashlib.sha256(np.ascontiguousarray(vectors).tobytes()).hexdigest()
    path = (*_FOLDER, f"{fingerprint('clusters', _CODE_VERSION, tier, ids, digest)}.parquet")
    if not root.exists(*path):
        try:
            root.write_table(_cluster(ids, vectors), *path)
        except StudyError as error:
            return f"{tier}: {error}"
    kept = root.read_table(*path)
    return kept["clip_id"].to_pylist(), column_values(kept["plane"]), column_values(kept["cluster"])


def _read_vectors(root: Root, tier: str, train: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Ids of the train clips that have the tier, a sample where they are many, and its columns side by side."""
    table = read_tier_table(root, tier)
    row = {clip: k for k, clip in enumerate(table["clip_id"].to_pylist())}
    ids = [clip for clip in train if clip in row]
    if len(ids) > MOST_CLIPS:
        chosen = np.sort(np.random.default_rng(0).choice(len(ids), MOST_CLIPS, replace=False))
        ids = [ids[k] for k in chosen]
    part = table.take([row[clip] for clip in ids])
    columns = [column_values(part[name]).astype(np.float32) for name in part.column_names if name != "clip_id"]
    vectors = np.concatenate([values.reshape(len(part), -1) for values in columns], axis=1)
    kept = np.isfinite(vectors).all(axis=1)
    return [clip for clip, good in zip(ids, kept, strict=True) if good], vectors[kept]


def _cluster(ids: list[str], vectors: np.ndarray) -> pa.Table:
    components = min(_COMPONENTS, len(ids) - 1, vectors.shape[1])
    rows = vectors.astype(np.float64)
    rows = Projection(components).fit(rows).transform(rows)
    check_distinct(rows)
    plane, clusters = cluster_rows(rows)
    places = pa.array(list(plane.astype(np.float32)), pa.list_(pa.float32(), plane.shape[1]))
    return pa.table({"clip_id": ids, "plane": places, "cluster": pa.array(clusters.astype(np.int64))})
