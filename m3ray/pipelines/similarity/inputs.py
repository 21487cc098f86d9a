"""The clips that a similarity measure is fitted on and applied to, and their vectors."""

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
from m3ray.schema import CONTENT, SIMILARITY
from m3ray.storage.root import Root
from m3ray.storage.tier_index import contents_of, current_tiers, feature_folder, stamped, tier_table
from m3ray.tiers.finetuned import PREFIX as TUNED_PREFIX

CODE_VERSION = 2


@dataclass(frozen=True)
class Clips:
    """What measures are fitted on and applied to.

    Args:
        sources: vector tiers.
        rows: `clip_id, split, labels` of the clips that have them all, and `content`: what their vectors were computed
            from, None where an older version computed them.
    """

    root: Root
    config: SimilarityConfig
    sources: list[str]
    rows: list[dict[str, Any]]
    vectors: dict[str, tuple[list[str], np.ndarray]]

    @classmethod
    def of(cls, root: Root, catalogue: pa.Table, config: SimilarityConfig) -> Clips:
        sources = source_tiers(root, config)
        vectors = {tier: _vectors(tier_table(root, tier), tier) for tier in sources}
        shared = set.intersection(*(set(ids) for ids, _ in vectors.values())) if vectors else set()
        rows = [r for r in catalogue.select(["clip_id", "split", "labels"]).to_pylist() if r["clip_id"] in shared]
        current = current_tiers(root)
        known = contents_of(root, [current[tier]["folder"] for tier in sources])
        rows = [{**row, CONTENT: known.get(row["clip_id"])} for row in rows]
        return cls(root, config, sources, rows, vectors)

    @cached_property
    def train(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["split"] == "train"]

    @cached_property
    def others(self) -> list[str]:
        return [row["clip_id"] for row in self.rows if row["split"] != "train"]

    def of_ids(self, ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Vector tier to the rows of clips, (N, D)."""
        found = {}
        for tier, (known, matrix) in self.vectors.items():
            position = {name: k for k, name in enumerate(known)}
            found[tier] = matrix[[position[name] for name in ids]]
        return found

    def folder(self, config: SimilarityConfig) -> tuple[str, str]:
        """Where a measure's features are; the name changes with all that they depend on."""
        current = current_tiers(self.root)
        # What an older version computed keeps the name that it had.
        facts = ((r["clip_id"], r["labels"], *([r[CONTENT]] if r[CONTENT] else [])) for r in self.train)
        clips = sorted(facts, key=lambda clip: clip[0])
        digest = hashlib.sha256(json.dumps(clips).encode()).hexdigest()
        tiers = [current[tier]["folder"] for tier in self.sources]
        return feature_folder(SIMILARITY, fingerprint("similarity", CODE_VERSION, config, tiers, digest))

    def has(self, folder: tuple[str, str]) -> bool:
        """Whether a folder is complete, and of just these clips as they are now."""
        now = {row["clip_id"]: row[CONTENT] for row in self.rows}
        return _by_clip(self.root, folder) == now and self.root.exists("artifacts", f"{folder[1]}.json")

    def changed(self, folder: tuple[str, str]) -> int:
        """How many clips have changed since a folder was computed."""
        then = _by_clip(self.root, folder)
        pairs = ((row[CONTENT], then.get(row["clip_id"])) for row in self.rows)
        return sum(now is not None and was is not None and now != was for now, was in pairs)

    def stamped(self, table: pa.Table) -> pa.Table:
        """A table of clips with what their vectors were computed from, where that is known."""
        known = {row["clip_id"]: row[CONTENT] for row in self.rows}
        contents = pa.array([known[name] for name in table["clip_id"].to_pylist()], pa.string())
        return table if contents.null_count == len(contents) else table.append_column(CONTENT, contents)


def _by_clip(root: Root, folder: tuple[str, str]) -> dict[str, str | None]:
    rows = stamped(root, *folder)
    return dict(zip(rows["clip_id"].to_pylist(), rows[CONTENT].to_pylist(), strict=True))


def source_tiers(root: Root, config: SimilarityConfig) -> list[str]:
    """The vector tiers to compare."""
    vectors = [tier for tier in current_tiers(root) if _comparable(tier)]
    return [tier for tier in config.sources if tier in vectors] or vectors


def _comparable(tier: str) -> bool:
    return tier not in ("raw", "facts") and SIMILARITY not in tier and not tier.startswith(TUNED_PREFIX)


def _vectors(table: pa.Table, tier: str) -> tuple[list[str], np.ndarray]:
    """Clip ids, and all columns side by side: (N, D)."""
    ids = table["clip_id"].to_pylist()
    columns = [table[name].combine_chunks() for name in table.column_names if name != "clip_id"]
    parts = [column.flatten() if column.type.num_fields else column for column in columns]
    matrix = np.concatenate([p.to_numpy(zero_copy_only=False).reshape(len(table), -1) for p in parts], axis=1)
    check_finite_rows(matrix, ids, tier)
    return ids, matrix
