"""Tier stage: an actor that holds the networks and computes all missing tiers of each clip.

One actor computes all tiers, so that a clip's frames cross the object store once.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import pyarrow as pa
import torch

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig
from m3ray.errors import M3RayError, StorageError
from m3ray.pipelines.extraction.crash_guard import CrashGuard
from m3ray.pipelines.extraction.decode_stage import process_decoder
from m3ray.pipelines.extraction.environments import add_environment, describe_environment
from m3ray.pipelines.extraction.records import (
    ComputedClip,
    DecodedClip,
    crash_failure,
    failure_of,
    pack_computed_clips,
    unpack_decoded_clips,
)
from m3ray.pipelines.extraction.storage_retries import make_retry
from m3ray.pipelines.extraction.tier_columns import pack_values
from m3ray.pipelines.extraction.version_checks import check_worker
from m3ray.pipelines.runtime.worker_entry import enter_worker
from m3ray.tiers import Tier, Window, WindowFeatures, average_windows, check_finite
from m3ray.tiers.base import iter_clip_windows
from m3ray.tiers.malloc import keep_freed_memory
from m3ray.tiers.network_tier import VectorTier
from m3ray.video.metadata import VideoMetadata


class TierStage:
    """Computes tiers of decoded clips.

    Args:
        tiers: Tiers, light to send; their networks are built in this process.
        decode: Rate, size and window of the frames of long clips, which are decoded here.
        limits: Per-clip resource limits.
        threads: Threads of torch and OpenCV if the tiers run on the CPU.
        compute: Whether a GPU's networks go through torch.compile, and where the raw tier runs; None takes the
            defaults.
        ledger: Handle of a `crash_guard.Ledger` actor; None repeats a clip that kills its process for ever.
        software: Versions that the driver has; None compares with nothing.
    Raises:
        ConfigError: If this node has other software, which changes numbers.
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
        self.guard: CrashGuard[DecodedClip, ComputedClip] = CrashGuard(
            ledger, "tier", limits.crash_count, _reject_crashing
        )
        self.retry = make_retry(limits, ledger)
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
        self.environment = describe_environment(self.tiers, lambda tier: self._device_of(tier, compute))

    def _device_of(self, tier: Tier, compute: ComputeConfig) -> torch.device:
        if tier.name == "raw" and compute.raw_device != "auto":
            return torch.device(compute.raw_device)
        return self.device

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Compute the missing tiers of a batch of clips.

        Args:
            batch: Rows of `records.DECODED`.
        Returns:
            Rows of `records.pack_computed_clips`, with their environment.
        """
        rows = self.guard.run(unpack_decoded_clips(batch), self.compute)
        table = pack_computed_clips(rows, {tier.name: [pack_values(row, tier) for row in rows] for tier in self.tiers})
        return add_environment(table, self.environment)

    def compute(self, clips: Sequence[DecodedClip]) -> list[ComputedClip]:
        """Compute the missing tiers of clips; a clip that fails takes no other with it.

        Args:
            clips: Decoded clips.
        Returns:
            A result for each clip, in order.
        """
        single_window = [clip for clip in clips if clip.frames is not None]
        results = {row.clip_id: row for row in self._compute_together(single_window)}
        for clip in clips:
            if clip.frames is None:
                results[clip.clip_id] = self._compute_alone(clip)
        return [results[clip.clip_id] for clip in clips]

    def _compute_together(self, clips: Sequence[DecodedClip]) -> list[ComputedClip]:
        """Compute clips of one window: each tier takes them as a batch."""
        try:
            return self._compute_batch(clips)
        except Exception:  # Whichever clip it was, the others must not fail.
            return [self._compute_alone(clip) for clip in clips]

    def _compute_batch(self, clips: Sequence[DecodedClip]) -> list[ComputedClip]:
        rows = [start_row(clip) for clip in clips]
        for tier in self.tiers:
            indices = [k for k, clip in enumerate(clips) if tier.name in clip.tiers]
            if not indices:
                continue
            start = time.perf_counter()
            features = tier.compute([_window(clips[k]) for k in indices])
            seconds = (time.perf_counter() - start) / len(indices)
            for k, windows in zip(indices, features, strict=True):
                rows[k] = _add_tier(rows[k], tier, [windows], seconds)
        return rows

    def _compute_alone(self, clip: DecodedClip) -> ComputedClip:
        row = start_row(clip)
        if clip.failure is not None:
            return row
        try:
            return self._compute_windows(clip, row)
        except StorageError:  # It says nothing of the clip: the job stops.
            raise
        except Exception as error:
            return row.with_failure(failure_of(error, "tier"))

    def _compute_windows(self, clip: DecodedClip, row: ComputedClip) -> ComputedClip:
        """Compute a clip window by window: memory is bounded by the window, however long the clip."""
        tiers = [tier for tier in self.tiers if tier.name in clip.tiers]
        features: dict[str, list[WindowFeatures]] = defaultdict(list)
        seconds: dict[str, float] = defaultdict(float)
        last = time.perf_counter()
        for metadata, window in self._read(clip):
            if clip.frames is None:  # The decoding stage read no more than its packets, and spent no time on frames.
                row = replace(row, metadata=metadata, decode_seconds=row.decode_seconds + time.perf_counter() - last)
            for tier in tiers:
                start = time.perf_counter()
                features[tier.name] += tier.compute([window])
                seconds[tier.name] += time.perf_counter() - start
            last = time.perf_counter()
        for tier in tiers:
            row = _add_tier(row, tier, features[tier.name], seconds[tier.name])
        return row

    def _read(self, clip: DecodedClip) -> Iterator[tuple[VideoMetadata | None, Window]]:
        if clip.frames is not None:
            yield clip.metadata, _window(clip)
            return
        video = clip.video
        data = self.retry.read(clip.uri, self.limits.max_bytes) if video is None else video.tobytes()
        yield from iter_clip_windows(process_decoder(self.decode, self.limits, self.decoder).windows(data))


def _reject_crashing(clip: DecodedClip, crash_count: int) -> ComputedClip:
    return start_row(clip).with_failure(crash_failure("tier", crash_count))


def start_row(clip: DecodedClip) -> ComputedClip:
    """Start the result of a clip, before its tiers are computed.

    Args:
        clip: The decoded clip.
    Returns:
        The result, without values.
    """
    return ComputedClip(
        clip.clip_id,
        clip.uri,
        clip.metadata,
        failure=clip.failure,
        decode_seconds=clip.seconds,
        content=clip.content,
        source_clip_id=clip.source_clip_id,
        window_start=clip.window_start,
    )


def _window(clip: DecodedClip) -> Window:
    assert clip.frames is not None
    assert clip.metadata is not None
    return Window(clip.frames, video_bytes=clip.metadata.video_bytes)


def _add_tier(row: ComputedClip, tier: Tier, features: Sequence[WindowFeatures], seconds: float) -> ComputedClip:
    if row.failure is not None:
        return row
    values = average_windows(features)
    try:
        check_finite(values, tier.name)
    except M3RayError as error:
        return row.with_failure(failure_of(error, f"tier:{tier.name}"))
    tier_seconds = {**row.tier_seconds, tier.name: seconds}
    return replace(row, values={**row.values, tier.name: values}, tier_seconds=tier_seconds)
