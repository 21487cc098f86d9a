"""The writing stage: computed clips to Parquet shards, a folder a tier, and rejects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import LimitsConfig
from m3ray.pipelines.extraction.patience import Patience, unsparing_patience, written
from m3ray.pipelines.extraction.tier_stage import TierColumns
from m3ray.pipelines.extraction.versions import noted_environments
from m3ray.pipelines.runtime.prometheus import count_clips, count_seconds, log_rejects
from m3ray.pipelines.runtime.worker_entry import enter_worker
from m3ray.schema import CONTENT, FACTS, REJECTS, STORAGE_FAILED
from m3ray.storage.root import Root

REJECTS_FOLDER = ("rejects",)


class WriteStage:
    """Commits shards and returns a row of counts for each batch.

    Args:
        root: where to.
        columns: what to make of each tier's bytes.
        folders: path of each tier, and of `facts`.
        metadata: goes into each tier's shards.
        patience: with a storage that fails; None: of this process alone.
    """

    def __init__(
        self,
        root: Root,
        columns: Sequence[TierColumns],
        folders: Mapping[str, tuple[str, ...]],
        metadata: Mapping[str, Mapping[str, Any]],
        patience: Patience | None = None,
    ) -> None:
        self.root = root
        self.columns = list(columns)
        self.folders = dict(folders)
        self.metadata = dict(metadata)
        self.patience = patience or unsparing_patience(LimitsConfig())

    def __call__(self, batch: pa.Table) -> pa.Table:
        enter_worker()
        failed = np.array([value is not None for value in batch["error"].to_pylist()])
        good = batch.filter(pa.array(~failed))
        for tier in self.columns:
            self._write_tier(good, tier)
        self._write_facts(good)
        self._write_rejects(batch.filter(pa.array(failed)))
        seconds, waiting = _stage_seconds(batch), batch["error"].to_pylist().count(STORAGE_FAILED)
        count_clips(good.num_rows, batch["error"].drop_null().to_pylist())
        count_seconds(seconds)
        counts = {"done": good.num_rows, "rejected": int(failed.sum()), "storage_failed": waiting}
        return pa.Table.from_pylist([{**counts, "seconds": json.dumps(seconds)}])

    def _write_tier(self, good: pa.Table, tier: TierColumns) -> None:
        rows = good.filter(pc.fill_null(pc.greater(pc.binary_length(good[f"tier_{tier.name}"]), 0), False))
        if rows.num_rows:
            table = tier.table(rows["clip_id"].to_pylist(), rows[f"tier_{tier.name}"].to_pylist())
            self._write(table, rows, tier.name)

    def _write_facts(self, good: pa.Table) -> None:
        rows = good.filter(pc.is_valid(good["facts"]))
        if rows.num_rows:
            facts = zip(rows["clip_id"].to_pylist(), rows["facts"].to_pylist(), strict=True)
            table = pa.Table.from_pylist([{"clip_id": clip, **json.loads(text)} for clip, text in facts], schema=FACTS)
            self._write(table, rows, "facts")

    def _write(self, table: pa.Table, rows: pa.Table, name: str) -> None:
        """A tier's rows, beside each what it was computed from, and with all what they were computed with."""
        contents = rows[CONTENT]
        if contents.null_count < len(contents):
            table = table.append_column(CONTENT, contents)
        self._commit(table, self.folders[name], {**self.metadata[name], **noted_environments(rows, name)})

    def _commit(self, table: pa.Table, folder: Sequence[str], metadata: Mapping[str, Any]) -> None:
        where = self.root.display(*folder)
        self.patience.call(where, lambda: written(where, lambda: self.root.write_shard(table, folder, metadata)))

    def _write_rejects(self, bad: pa.Table) -> None:
        if bad.num_rows:
            rejects = bad.select(REJECTS.names).cast(REJECTS)
            self._commit(rejects, REJECTS_FOLDER, {})
            log_rejects(rejects)


def _stage_seconds(batch: pa.Table) -> dict[str, float]:
    """The seconds that each stage spent on the clips of this batch."""
    seconds: dict[str, float] = {}
    for text in batch["seconds"].to_pylist():
        for stage, spent in json.loads(text).items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    return seconds
