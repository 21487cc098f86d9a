"""The tier stage: an actor that holds the networks and computes every tier asked for of each clip.

One actor computes all tiers, so that a clip's frames cross the object store once.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig
from m3ray.errors import M3RayError, StorageError
from m3ray.pipelines.extraction.crash_guard import Guard
from m3ray.pipelines.extraction.decode_stage import shared_decoder
from m3ray.pipelines.extraction.patience import patience
from m3ray.pipelines.extraction.records import Computed, Decoded, computed_table, crashed, decoded_rows, failure_of
from m3ray.pipelines.extraction.versions import check_worker, told_environment, with_environment
from m3ray.pipelines.runtime.worker_entry import enter_worker
from m3ray.tiers import Measured, Tier, Window, check_finite, clip_values
from m3ray.tiers.malloc import keep_freed_memory
from m3ray.tiers.network_tier import VectorTier
from m3ray.video.sampling import Facts


class TierStage:
    """Computes tiers of decoded clips.

    Args:
        tiers: light descriptions; their networks are built here.
        decode: to read the windows of long clips.
        limits: likewise.
        threads: of torch, on CPU.
        compute: whether a GPU's networks go through torch.compile, and where the raw tier runs.
        ledger: of `strikes`; None: a clip that kills the process is repeated for ever.
        software: of the job; None: this process' own.
    Raises:
        ConfigError: this node has other software, which changes numbers.
    """

    def __init__(
        self,
        tiers: Sequence[Tier],
        decode: DecodeConfig,
        limits: LimitsConfig,
        threads: int,
        compute: ComputeConfig | None = None,
        ledger: Any = None,
        software: Mapping[str, str] | None = None,
    ) -> None:
        enter_worker()
        check_worker(software or {})
        compute = compute or ComputeConfig()
        self.guard: Guard[Decoded, Computed] = Guard(ledger, "tier", limits.strikes, _given_up)
        self.patience = patience(limits, ledger)
        self.tiers = list(tiers)
        self.decode = decode
        self.limits = limits
        self.decoder = compute.decoder
        self.device = torch.device("cuda" if torch.cuda.is_available() and compute.device != "cpu" else "cpu")
        if self.device.type == "cpu":
            torch.set_num_threads(threads)
            cv2.setNumThreads(threads)
            keep_freed_memory()
        for tier in self.tiers:
            tier.setup(self._device_of(tier, compute))
            if compute.compile and self.device.type == "cuda" and isinstance(tier, VectorTier):
                tier.compile()
        self.environment = told_environment(self.tiers, lambda tier: self._device_of(tier, compute))

    def _device_of(self, tier: Tier, compute: ComputeConfig) -> torch.device:
        if tier.name == "raw" and compute.raw_device != "auto":
            return torch.device(compute.raw_device)
        return self.device

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = self.guard.results(decoded_rows(batch), self.compute)
        table = computed_table(rows, {tier.name: [packed(row, tier) for row in rows] for tier in self.tiers})
        return with_environment(table, self.environment)

    def compute(self, clips: Sequence[Decoded]) -> list[Computed]:
        """The tiers of clips, in order; a clip that fails takes no other with it."""
        whole = [clip for clip in clips if clip.frames is not None]
        results = {row.clip_id: row for row in self._together(whole)}
        for clip in clips:
            if clip.frames is None:
                results[clip.clip_id] = self._alone(clip)
        return [results[clip.clip_id] for clip in clips]

    def _together(self, clips: Sequence[Decoded]) -> list[Computed]:
        """Clips of one window: each tier computes them as a batch."""
        try:
            return self._batch(clips)
        except Exception:  # whichever clip it was, the others must not suffer
            return [self._alone(clip) for clip in clips]

    def _batch(self, clips: Sequence[Decoded]) -> list[Computed]:
        rows = [started(clip) for clip in clips]
        for tier in self.tiers:
            asked = [k for k, clip in enumerate(clips) if tier.name in clip.tiers]
            if not asked:
                continue
            start = time.perf_counter()
            measured = tier.measure([_window(clips[k]) for k in asked])
            seconds = (time.perf_counter() - start) / len(asked)
            for k, windows in zip(asked, measured, strict=True):
                rows[k] = _with_tier(rows[k], tier, [windows], seconds)
        return rows

    def _alone(self, clip: Decoded) -> Computed:
        row = started(clip)
        if clip.failure is not None:
            return row
        try:
            return self._windows(clip, row)
        except StorageError:  # says nothing of the clip: the job stops
            raise
        except Exception as error:
            return row.failed(failure_of(error, "tier"))

    def _windows(self, clip: Decoded, row: Computed) -> Computed:
        """A clip window by window: memory is bounded by the window, however long the clip."""
        asked = [tier for tier in self.tiers if tier.name in clip.tiers]
        measured: dict[str, list[Measured]] = defaultdict(list)
        seconds: dict[str, float] = defaultdict(float)
        begun = time.perf_counter()
        for facts, window in self._read(clip):
            if clip.frames is None:  # the decoding stage knew no more than its packets say, and spent no time on it
                row = replace(row, facts=facts, decode_seconds=row.decode_seconds + time.perf_counter() - begun)
            for tier in asked:
                start = time.perf_counter()
                measured[tier.name] += tier.measure([window])
                seconds[tier.name] += time.perf_counter() - start
            begun = time.perf_counter()
        for tier in asked:
            row = _with_tier(row, tier, measured[tier.name], seconds[tier.name])
        return row

    def _read(self, clip: Decoded) -> Iterator[tuple[Facts | None, Window]]:
        if clip.frames is not None:
            yield clip.facts, _window(clip)
            return
        video = clip.video
        data = self.patience.read(clip.uri, self.limits.max_bytes) if video is None else video.tobytes()
        lead = None
        decoder = shared_decoder(self.decode, self.limits, self.decoder)
        for index, (facts, frames) in enumerate(decoder.windows(data)):
            yield facts, Window(frames, index, lead, facts.video_bytes)
            lead = frames[-1]


def _given_up(clip: Decoded, strikes: int) -> Computed:
    return started(clip).failed(crashed("tier", strikes))


def started(clip: Decoded) -> Computed:
    """The row of a clip before its tiers."""
    return Computed(
        clip.clip_id, clip.uri, clip.facts, failure=clip.failure, decode_seconds=clip.seconds, content=clip.content
    )


def _window(clip: Decoded) -> Window:
    assert clip.frames is not None
    assert clip.facts is not None
    return Window(clip.frames, video_bytes=clip.facts.video_bytes)


def _with_tier(row: Computed, tier: Tier, measured: Sequence[Measured], seconds: float) -> Computed:
    if row.failure is not None:
        return row
    values = clip_values(measured)
    try:
        check_finite(values, tier.name)
    except M3RayError as error:
        return row.failed(failure_of(error, f"tier:{tier.name}"))
    spent = {**row.tier_seconds, tier.name: seconds}
    return replace(row, values={**row.values, tier.name: values}, tier_seconds=spent)


# A tier's columns travel to the writer as one float64 array, in the order of its schema.


def packed(row: Computed, tier: Tier) -> bytes | None:
    """The columns of `tier` as bytes; None where they were not computed."""
    if tier.name not in row.values:
        return None
    values = row.values[tier.name]
    columns = [np.atleast_1d(values[name]).astype(np.float64) for name in tier.schema.names[1:]]
    return np.concatenate(columns).tobytes()


@dataclass(frozen=True)
class TierColumns:
    """What the writer needs of a tier: no network, no weights."""

    name: str
    schema: pa.Schema

    def table(self, ids: Sequence[str], data: Sequence[bytes]) -> pa.Table:
        """The tier's rows, in its own column types."""
        matrix = np.stack([np.frombuffer(row, np.float64) for row in data])
        arrays: list[pa.Array] = [pa.array(ids, pa.string())]
        start = 0
        for column in list(self.schema)[1:]:
            width = column.type.list_size if pa.types.is_fixed_size_list(column.type) else 1
            arrays.append(_array(matrix[:, start : start + width], column.type))
            start += width
        return pa.Table.from_arrays(arrays, schema=self.schema)


def _array(block: np.ndarray, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(block[:, 0], kind)
    return pa.FixedSizeListArray.from_arrays(pa.array(block.astype(np.float32).ravel()), type=kind)
