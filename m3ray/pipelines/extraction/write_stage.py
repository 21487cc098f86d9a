"""Writing stage: join the windows of long clips, and commit clips as Parquet shards, a folder a tier, and rejects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from m3ray.config import LimitsConfig
from m3ray.pipelines.extraction.environments import environments_metadata
from m3ray.pipelines.extraction.records import DEVICE_LOST, SECONDS, Part, add_window_columns, name_row
from m3ray.pipelines.extraction.storage_retries import StorageRetry, make_persistent_retry, write_or_fault
from m3ray.pipelines.extraction.tier_columns import TierColumns
from m3ray.pipelines.extraction.window_joins import WindowJoins
from m3ray.pipelines.extraction.window_parts import join_windows, sum_seconds
from m3ray.pipelines.runtime.prometheus import count_clips, count_seconds, log_rejects
from m3ray.pipelines.runtime.worker_entry import enter_worker
from m3ray.schema import CONTENT, METADATA_TABLE, REJECTS, STORAGE_FAILED
from m3ray.storage.rejects import REJECTS_FOLDER
from m3ray.storage.root import Root
from m3ray.video.metadata_columns import metadata_table

# Rows that a banned GPU's process handed back: id of the row to that of its clip, another one for a sliding window.
DEFERRED = pa.map_(pa.string(), pa.string())
COUNTS = pa.schema(
    [
        ("done", pa.int64()),
        ("rejected", pa.int64()),
        ("storage_failed", pa.int64()),
        ("deferred", DEFERRED),
        ("seconds", SECONDS),
    ]
)


class WriteStage:
    """Commits shards of features, video metadata and rejects.

    Args:
        root: Root that gets the shards.
        columns: Columns of each tier.
        folders: Path of the feature folder of each tier, and of `METADATA_TABLE`.
        metadata: Arrow metadata of each tier's shards, and of `METADATA_TABLE`.
        retry: Retries of requests to the storage; None uses those of this process alone.
        ledger: Handle of a `crash_guard.Ledger` actor, where windows wait for the others of their clip; None: here,
            which does for a writer that sees all of them.
    """

    def __init__(
        self,
        root: Root,
        columns: Sequence[TierColumns],
        folders: Mapping[str, tuple[str, ...]],
        metadata: Mapping[str, Mapping[str, Any]],
        retry: StorageRetry | None = None,
        ledger: Any = None,
    ) -> None:
        self.root = root
        self.columns = list(columns)
        self.folders = dict(folders)
        self.metadata = dict(metadata)
        self.retry = retry or make_persistent_retry(LimitsConfig())
        self.ledger = ledger
        self.joins = WindowJoins()

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Commit a batch of computed clips.

        Args:
            batch: Rows from `records.pack_computed_clips`.
        Returns:
            One row of `COUNTS`.
        Raises:
            StorageError: If the storage answered no request as long as the job waits.
        """
        enter_worker()
        seconds = sum_seconds(batch.select(["seconds"]).to_pylist())
        batch, joined = self._join_windows(batch)
        is_deferred = pc.fill_null(pc.equal(batch["error"], DEVICE_LOST), False)
        deferred = _name_rows(batch.filter(is_deferred))
        batch = batch.filter(pc.invert(is_deferred))
        failed = np.array([value is not None for value in batch["error"].to_pylist()], bool)
        good = batch.filter(pa.array(~failed))
        for tier in self.columns:
            self._write_tier(good, tier)
        self._write_video_metadata(good)
        self._write_rejects(batch.filter(pa.array(failed)))
        if joined:
            self._call_joins("forget", joined)
        storage_failed = batch["error"].to_pylist().count(STORAGE_FAILED)
        count_clips(good.num_rows, batch["error"].drop_null().to_pylist())
        count_seconds(seconds)
        counts = {"done": good.num_rows, "rejected": int(failed.sum()), "storage_failed": storage_failed}
        maps = {"deferred": list(deferred.items()), "seconds": list(seconds.items())}
        return pa.Table.from_pylist([{**counts, **maps}], schema=COUNTS)

    def _join_windows(self, batch: pa.Table) -> tuple[pa.Table, list[str]]:
        """The batch with clips instead of windows, and which of its clips were joined."""
        is_part = pc.is_valid(batch["part"])
        parts, whole = batch.filter(is_part), batch.filter(pc.invert(is_part))
        if not parts.num_rows:
            return batch, []
        failed, computed = pc.is_valid(parts["error"]), pc.is_null(parts["error"])
        ends = self._keep_ends(parts.filter(failed).to_pylist())
        complete = self._call_joins("add", parts.filter(computed).to_pylist())
        rows = [*ends, *(join_windows(windows, self.columns) for windows in complete)]
        clips = pa.Table.from_pylist(rows, schema=batch.schema)
        return pa.concat_tables([whole, clips]), [windows[0]["clip_id"] for windows in complete]

    def _keep_ends(self, failed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The failed windows that end their clip, as rows of the clip."""
        rows = {name_row(row["clip_id"], Part(**row["part"])): row for row in failed}
        clips = {name: (row["clip_id"], row["part"]["attempt"]) for name, row in rows.items()}
        ends = self._call_joins("close", clips) if rows else []
        return [{**rows[name], "part": None} for name in ends]

    def _call_joins(self, method: str, argument: Any) -> Any:
        if self.ledger is None:
            return getattr(self.joins, method)(argument)
        return ray.get(self.ledger.call_part.remote("joins", method, argument))

    def _write_tier(self, good: pa.Table, tier: TierColumns) -> None:
        rows = good.filter(pc.fill_null(pc.greater(pc.binary_length(good[f"tier_{tier.name}"]), 0), False))
        if rows.num_rows:
            table = tier.unpack(rows["clip_id"].to_pylist(), rows[f"tier_{tier.name}"].to_pylist())
            self._write(table, rows, tier.name)

    def _write_video_metadata(self, good: pa.Table) -> None:
        rows = good.filter(pc.is_valid(good["metadata"]))
        if rows.num_rows:
            table = metadata_table(rows["clip_id"], rows["metadata"])
            self._write(add_window_columns(table, rows), rows, METADATA_TABLE)

    def _write(self, table: pa.Table, rows: pa.Table, name: str) -> None:
        """Commit a tier's rows with the content stamp of each and the environments of all."""
        contents = rows[CONTENT]
        if contents.null_count < len(contents):
            table = table.append_column(CONTENT, contents)
        self._commit(table, self.folders[name], {**self.metadata[name], **environments_metadata(rows, name)})

    def _commit(self, table: pa.Table, folder: Sequence[str], metadata: Mapping[str, Any]) -> None:
        uri = self.root.display(*folder)
        self.retry.call(uri, lambda: write_or_fault(uri, lambda: self.root.write_shard(table, folder, metadata)))

    def _write_rejects(self, bad: pa.Table) -> None:
        if bad.num_rows:
            rejects = bad.select(REJECTS.names).cast(REJECTS)
            self._commit(add_window_columns(rejects, bad), REJECTS_FOLDER, {})
            log_rejects(rejects)


def _name_rows(rows: pa.Table) -> dict[str, str]:
    """Id of each row to the id of its clip."""
    ids = rows["clip_id"].to_pylist()
    clips = pc.coalesce(rows["source_clip_id"], rows["clip_id"]).to_pylist()
    return dict(zip(ids, clips, strict=True))
