"""Clips and vectors that similarity measures are fitted on and applied to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from m3ray.config import SimilarityConfig, fingerprint
from m3ray.features.matrix import check_finite_rows
from m3ray.schema import CAPTIONS, CONTENT, METADATA_TABLE, PRETRAINED, SIMILARITY
from m3ray.storage.root import Root
from m3ray.storage.shard_stamps import read_feature_stamps, read_stamps
from m3ray.storage.tier_index import feature_folder, read_tier_index, read_tier_table
from m3ray.storage.vector_columns import column_values
from m3ray.tiers.finetuned import FINETUNED_PREFIX

CODE_VERSION = 2
# Of measures whose numbers have changed since: each density has its own bandwidth, prototypes leave a train clip out.
_LATER_VERSIONS = {"fractional_prototypes": 3, "euclidean_prototypes": 3, "kde": 3, "kde_labels": 3, "kde_kmeans": 3}


def code_version(measure: str) -> int:
    """Version of the code that a measure's numbers come from; an older one's where they are still the same.

    Args:
        measure: Name of the measure.
    """
    return _LATER_VERSIONS.get(measure, CODE_VERSION)


@dataclass(frozen=True)
class SimilarityClips:
    """The clips of a root that have all vectors that are compared.

    Args:
        root: Root with the vector tiers.
        config: Settings of the measure of M3-S.
        sources: Names of the vector tiers.
        rows: `clip_id`, `split` and `labels` of each clip, and `content`: what its vectors were computed from, None
            where an older m3ray computed them.
        vectors: Name of each vector tier to the ids of its clips and their vectors, (N, D).
    """

    root: Root
    config: SimilarityConfig
    sources: list[str]
    rows: list[dict[str, Any]]
    vectors: dict[str, tuple[list[str], np.ndarray]]

    @classmethod
    def read(cls, root: Root, catalogue: pa.Table, config: SimilarityConfig) -> SimilarityClips:
        """Read the clips of a root.

        Args:
            root: Root with the vector tiers.
            catalogue: Catalogue of the root: `clip_id`, `split`, `labels`.
            config: Settings of the measure of M3-S, with the tiers to compare.
        Returns:
            The clips that have all vectors.
        """
        sources = select_source_tiers(root, config)
        vectors = {tier: _stack_vectors(read_tier_table(root, tier), tier) for tier in sources}
        shared = set.intersection(*(set(ids) for ids, _ in vectors.values())) if vectors else set()
        rows = [r for r in catalogue.select(["clip_id", "split", "labels"]).to_pylist() if r["clip_id"] in shared]
        index = read_tier_index(root)
        contents = read_feature_stamps(root, [index[tier].folder for tier in sources])
        rows = [{**row, CONTENT: contents.get(row["clip_id"])} for row in rows]
        return cls(root, config, sources, rows, vectors)

    @cached_property
    def train(self) -> list[dict[str, Any]]:
        """Rows of the train split."""
        return [row for row in self.rows if row["split"] == "train"]

    @cached_property
    def others(self) -> list[str]:
        """Ids of the clips outside the train split."""
        return [row["clip_id"] for row in self.rows if row["split"] != "train"]

    def select_vectors(self, ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Select the vectors of clips.

        Args:
            ids: Ids of M clips.
        Returns:
            Name of each vector tier to the vectors, (M, D).
        """
        selected = {}
        for tier, (names, matrix) in self.vectors.items():
            position = {name: k for k, name in enumerate(names)}
            selected[tier] = matrix[[position[name] for name in ids]]
        return selected

    def folder(self, config: SimilarityConfig) -> tuple[str, str]:
        """Path parts, below the root, of the folder for a measure's features.

        Args:
            config: Settings of the measure.
        Returns:
            The path; its fingerprint changes with all that the features depend on.
        """
        index = read_tier_index(self.root)
        # What an older version computed keeps the name that it had.
        described = ((r["clip_id"], r["labels"], *([r[CONTENT]] if r[CONTENT] else [])) for r in self.train)
        clips = sorted(described, key=lambda clip: clip[0])
        digest = hashlib.sha256(json.dumps(clips).encode()).hexdigest()
        tiers = [index[tier].folder for tier in self.sources]
        version = code_version(config.measure)
        return feature_folder(SIMILARITY, fingerprint("similarity", version, config, tiers, digest))

    def has_current(self, folder: tuple[str, str]) -> bool:
        """Tell whether a folder is complete, and holds just these clips as they are now.

        Args:
            folder: Path parts of the folder below the root.
        Returns:
            Whether it does.
        """
        now = {row["clip_id"]: row[CONTENT] for row in self.rows}
        return _read_contents(self.root, folder) == now and self.root.exists("artifacts", f"{folder[1]}.json")

    def count_changed(self, folder: tuple[str, str]) -> int:
        """Count the clips that have changed since a folder was computed.

        Args:
            folder: Path parts of the folder below the root.
        Returns:
            Number of clips whose content was known then and is another one now.
        """
        then = _read_contents(self.root, folder)
        pairs = ((row[CONTENT], then.get(row["clip_id"])) for row in self.rows)
        return sum(now is not None and was is not None and now != was for now, was in pairs)

    def add_contents(self, table: pa.Table) -> pa.Table:
        """Add what the vectors of each clip were computed from.

        Args:
            table: Features, with `clip_id`.
        Returns:
            The table with the column `content`; as it is where nothing is known.
        """
        content_of = {row["clip_id"]: row[CONTENT] for row in self.rows}
        contents = pa.array([content_of[name] for name in table["clip_id"].to_pylist()], pa.string())
        return table if contents.null_count == len(contents) else table.append_column(CONTENT, contents)


def _read_contents(root: Root, folder: tuple[str, str]) -> dict[str, str | None]:
    rows = read_stamps(root, *folder)
    return dict(zip(rows["clip_id"].to_pylist(), rows[CONTENT].to_pylist(), strict=True))


def select_source_tiers(root: Root, config: SimilarityConfig) -> list[str]:
    """Select the vector tiers to compare.

    Args:
        root: Root with features.
        config: Settings of the measure, with the tiers that are meant.
    Returns:
        Names of those that the root has; of every vector tier where it has none of them, but for pretrained scorers,
        whose vectors are made for the score and not for what a clip shows, and captions, which few words make alike.
    """
    vectors = [tier for tier in read_tier_index(root) if _is_comparable(tier)]
    meant = [tier for tier in config.sources if tier in vectors]
    return meant or [tier for tier in vectors if tier not in PRETRAINED]


def _is_comparable(tier: str) -> bool:
    is_vector = tier not in ("raw", CAPTIONS, METADATA_TABLE)
    return is_vector and SIMILARITY not in tier and not tier.startswith(FINETUNED_PREFIX)


def _stack_vectors(table: pa.Table, tier: str) -> tuple[list[str], np.ndarray]:
    """Ids of the clips, and all columns of each side by side, (N, D)."""
    ids = table["clip_id"].to_pylist()
    columns = [column_values(table[name]) for name in table.column_names if name != "clip_id"]
    matrix = np.concatenate([values.reshape(len(table), -1) for values in columns], axis=1)
    check_finite_rows(matrix, ids, tier)
    return ids, matrix
