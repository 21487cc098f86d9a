"""Tier stage: an actor that holds the networks and computes all missing tiers of each clip.

One actor computes all tiers, so that a clip's frames cross the object store once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig
from m3ray.errors import M3RayError
from m3ray.pipelines.extraction.batch_limits import BatchLimits, limit_memory
from m3ray.pipelines.extraction.crash_guard import CrashGuard, CrashRecord
from m3ray.pipelines.extraction.device_faults import DeviceFaultError, classify_error, raise_device_fault
from m3ray.pipelines.extraction.device_guard import DeviceGuard
from m3ray.pipelines.extraction.environments import add_environment, describe_environment
from m3ray.pipelines.extraction.records import (
    ComputedClip,
    DecodedClip,
    crash_failure,
    device_failure,
    failure_of,
    pack_computed_clips,
    unpack_decoded_clips,
)
from m3ray.pipelines.extraction.tier_columns import pack_values
from m3ray.pipelines.extraction.version_checks import check_worker
from m3ray.pipelines.runtime.devices import take_device
from m3ray.pipelines.runtime.worker_entry import enter_worker
from m3ray.tiers import Tier, Window, WindowFeatures, average_windows, check_finite
from m3ray.tiers.base import own_rate
from m3ray.tiers.malloc import keep_freed_memory
from m3ray.tiers.network_tier import VectorTier
from m3ray.tiers.raw_tier import RawTier
from m3ray.tiers.slab import upload_windows

_GRAY, _GRAY_FRAMES = 128, 16  # enough for each layer of the networks to have something to compute


class TierStage:
    """Computes tiers of decoded clips.

    Args:
        tiers: Tiers, light to send; their networks are built in this process.
        decode: Rate, size and window of the frames.
        limits: Per-clip resource limits.
        threads: Threads of torch and OpenCV if the tiers run on the CPU.
        compute: Whether a GPU's networks go through torch.compile and are deterministic, and where the raw tier runs;
            None takes the defaults.
        ledger: Handle of a `crash_guard.Ledger` actor; None repeats a clip that kills its process for ever.
        software: Versions that the driver has; None compares with nothing.
        gpu: Whether Ray gave this process a GPU, or a part of one; it then computes there, or fails.
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
        *,
        gpu: bool = False,
    ) -> None:
        enter_worker()
        check_worker(software or {})
        self.gpu = gpu
        self.compute_config = compute or ComputeConfig()
        self.devices = DeviceGuard(ledger if gpu else None)
        self.guard: CrashGuard[DecodedClip, ComputedClip] = CrashGuard(
            ledger, "tier", limits.crash_count, _reject_crashing, self.devices.gpu
        )
        self.tiers = list(tiers)
        self.decode = decode
        self.environment = ""
        if not self.devices.is_banned_here:
            self._set_up(threads)

    def _set_up(self, threads: int) -> None:
        """Load the networks; what the GPU fails with, or lacks memory for, is kept for the first task."""
        try:
            self._load_tiers(threads)
        except Exception as error:
            if not self.gpu or classify_error(error) == "clip":
                raise
            self.devices.keep_fault(DeviceFaultError(str(error).partition("\n")[0]))
        self.devices.note_ready()

    def _load_tiers(self, threads: int) -> None:
        if self.gpu and self.compute_config.deterministic:
            _compute_deterministically()
        self.device = self._take_device()
        if self.device.type == "cpu":
            threads = min(threads, os.cpu_count() or 1)  # reckoned from the CPUs of all nodes
            torch.set_num_threads(threads)
            cv2.setNumThreads(threads)
            keep_freed_memory()
        self.batches = BatchLimits(limit_memory(self.device))
        for tier in self.tiers:
            tier.setup(self._device_of(tier))
            if self.compute_config.compile and self.device.type == "cuda" and isinstance(tier, VectorTier | RawTier):
                tier.compile()
        self.environment = describe_environment(self.tiers, self._device_of)

    def _take_device(self) -> torch.device:
        return take_device(gpu=self.gpu)

    def _device_of(self, tier: Tier) -> torch.device:
        if tier.name == "raw" and self.compute_config.raw_device != "auto":
            return torch.device(self.compute_config.raw_device)
        return self.device

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Compute the missing tiers of a batch of clips.

        Args:
            batch: Rows of `records.DECODED`.
        Returns:
            Rows of `records.pack_computed_clips`, with their environment.
        Raises:
            LostDeviceError: If the job has no GPU left that computes.
        """
        clips = unpack_decoded_clips(batch)
        rows = [_defer(clip) for clip in clips] if self.devices.is_banned() else self._compute_or_end(clips)
        table = pack_computed_clips(rows, {tier.name: [pack_values(row, tier) for row in rows] for tier in self.tiers})
        return add_environment(table, self.environment)

    def _compute_or_end(self, clips: Sequence[DecodedClip]) -> list[ComputedClip]:
        try:
            self.devices.prove(self._compute_gray)
            return self.guard.run(clips, self.compute)
        except DeviceFaultError as error:
            self.devices.end_process(error)
            raise

    def _compute_gray(self) -> None:
        """Compute gray frames; what they fail with is of no interest unless it is the device's."""
        frames = np.full((min(_GRAY_FRAMES, self.decode.window_frames), *2 * [self.decode.size], 3), _GRAY, np.uint8)
        for tier in self.tiers:
            try:
                tier.compute([Window(frames)])
            except Exception as error:
                raise_device_fault(error)

    def compute(self, clips: Sequence[DecodedClip]) -> list[ComputedClip]:
        """Compute the missing tiers of clips; a clip that fails takes no other with it.

        Args:
            clips: Decoded clips.
        Returns:
            A result for each clip, in order.
        Raises:
            DeviceFaultError: If the device failed: this process can compute nothing more on it.
        """
        decoded = [k for k, clip in enumerate(clips) if clip.failure is None]
        rows = [start_row(clip) for clip in clips]
        for k, row in zip(decoded, self._compute_together([clips[k] for k in decoded]), strict=True):
            rows[k] = row
        if any(row.values or row.windows for row in rows):
            self.devices.note_computed()
        return rows

    def _compute_together(self, clips: Sequence[DecodedClip]) -> list[ComputedClip]:
        """Compute clips as a batch; where that fails, each by itself."""
        try:
            return self._compute_batch(clips)
        except Exception as error:  # Whichever clip it was, the others must not fail.
            self._raise_device_fault(error)
        return [self._compute_alone(clip) for clip in clips]

    def _raise_device_fault(self, error: Exception) -> None:
        if self.gpu:
            raise_device_fault(error)

    def _compute_batch(self, clips: Sequence[DecodedClip]) -> list[ComputedClip]:
        rows = [start_row(clip) for clip in clips]
        windows = self._upload([_window(clip) for clip in clips])
        for tier in self.tiers:
            indices = [k for k, clip in enumerate(clips) if tier.name in clip.tiers]
            if not indices:
                continue
            start = time.perf_counter()
            features = self.batches.compute(tier, [windows[k] for k in indices])
            seconds = (time.perf_counter() - start) / len(indices)
            for k, found in zip(indices, features, strict=True):
                rows[k] = _add_tier(rows[k], tier, found, seconds)
        return rows

    def _upload(self, windows: Sequence[Window]) -> Sequence[Window]:
        """Begin to copy all frames to the device, once for all tiers; if they don't fit, each copies its own."""
        try:
            return upload_windows(windows, self.device)
        except Exception as error:
            if classify_error(error) != "memory":
                raise
        return windows

    def _compute_alone(self, clip: DecodedClip) -> ComputedClip:
        try:
            (row,) = self._compute_batch([clip])
            return row
        except Exception as error:
            self._raise_device_fault(error)
            return start_row(clip).with_failure(failure_of(error, "tier"))


def _compute_deterministically() -> None:
    """Take deterministic algorithms where PyTorch has them; before CUDA starts, which reads the variable."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)


def _reject_crashing(clip: DecodedClip, record: CrashRecord) -> ComputedClip:
    return start_row(clip).with_failure(crash_failure("tier", record.deaths, record.reason))


def _defer(clip: DecodedClip) -> ComputedClip:
    """The row of a clip that is computed on another GPU; what decoding rejected stays rejected."""
    row = start_row(clip)
    return row if clip.failure is not None else row.with_failure(device_failure())


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
        part=clip.part,
    )


def _window(clip: DecodedClip) -> Window:
    assert clip.frames is not None
    assert clip.metadata is not None
    index, lead = (0, None) if clip.part is None or clip.lead is None else (clip.part.index, clip.lead[0])
    return Window(clip.frames, index, lead, clip.metadata.video_bytes, rate=own_rate(clip.metadata))


def _add_tier(row: ComputedClip, tier: Tier, features: WindowFeatures, seconds: float) -> ComputedClip:
    if row.failure is not None:
        return row
    if row.part is not None:  # The writer averages the windows of the clip.
        tier_seconds = {**row.tier_seconds, tier.name: seconds}
        return replace(row, windows={**row.windows, tier.name: features}, tier_seconds=tier_seconds)
    values = average_windows([features])
    try:
        check_finite(values, tier.name)
    except M3RayError as error:
        return row.with_failure(failure_of(error, f"tier:{tier.name}"))
    tier_seconds = {**row.tier_seconds, tier.name: seconds}
    return replace(row, values={**row.values, tier.name: values}, tier_seconds=tier_seconds)
