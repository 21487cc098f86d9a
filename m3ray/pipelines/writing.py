"""The writing stage: computed clips to Parquet shards, a folder a tier, and rejects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from m3ray.data.store import Root
from m3ray.pipelines.computing import TierColumns
from m3ray.pipelines.metrics import count_clips, count_seconds, log_rejects
from m3ray.schema import FACTS, REJECTS

REJECTS_FOLDER = ("rejects",)


class WriteStage:
    """Commits shards and returns a row of counts for each batch.

    Args:
        root: where to.
        columns: what to make of each tier's bytes.
        folders: path of each tier, and of `facts`.
        metadata: goes into each tier's shards.
    """

    def __init__(
        self,
        root: Root,
        columns: Sequence[TierColumns],
        folders: Mapping[str, tuple[str, ...]],
        metadata: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.root = root
        self.columns = list(columns)
        self.folders = dict(folders)
        self.metadata = dict(metadata)

    def __call__(self, batch: pa.Table) -> pa.Table:
        failed = np.array([value is not None for value in batch["error"].to_pylist()])
        good = batch.filter(pa.array(~failed))
        for tier in self.columns:
            self._write_tier(good, tier)
        self._write_facts(good)
        self._write_rejects(batch.filter(pa.array(failed)))
        seconds = _stage_seconds(batch)
        count_clips(good.num_rows, batch["error"].drop_null().to_pylist())
        count_seconds(seconds)
        return pa.table({"done": [good.num_rows], "rejected": [int(failed.sum())], "seconds": [json.dumps(seconds)]})

    def _write_tier(self, good: pa.Table, tier: TierColumns) -> None:
        data = good[f"tier_{tier.name}"].to_pylist()
        rows = [(clip, value) for clip, value in zip(good["clip_id"].to_pylist(), data, strict=True) if value]
        if rows:
            table = tier.table([clip for clip, _ in rows], [value for _, value in rows])
            self.root.write_shard(table, self.folders[tier.name], self.metadata[tier.name])

    def _write_facts(self, good: pa.Table) -> None:
        rows = [
            {"clip_id": clip, **json.loads(facts)}
            for clip, facts in zip(good["clip_id"].to_pylist(), good["facts"].to_pylist(), strict=True)
            if facts
        ]
        if rows:
            table = pa.Table.from_pylist(rows, schema=FACTS)
            self.root.write_shard(table, self.folders["facts"], self.metadata["facts"])

    def _write_rejects(self, bad: pa.Table) -> None:
        if bad.num_rows:
            rejects = bad.select(REJECTS.names).cast(REJECTS)
            self.root.write_shard(rejects, REJECTS_FOLDER, {})
            log_rejects(rejects)


def _stage_seconds(batch: pa.Table) -> dict[str, float]:
    """The seconds that each stage spent on the clips of this batch."""
    seconds: dict[str, float] = {}
    for text in batch["seconds"].to_pylist():
        for stage, spent in json.loads(text).items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    return seconds
