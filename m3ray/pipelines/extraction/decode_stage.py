"""Decoding stage: read clips and decode their frames, in tasks on CPUs."""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import DecodeConfig, DecoderName, LimitsConfig
from m3ray.errors import DecodeError
from m3ray.pipelines.extraction.crash_guard import CrashGuard, CrashRecord
from m3ray.pipelines.extraction.records import (
    DecodedClip,
    Part,
    crash_failure,
    failure_of,
    pack_decoded_clips,
    unpack_work,
)
from m3ray.pipelines.extraction.storage_retries import make_retry
from m3ray.pipelines.extraction.version_checks import check_worker
from m3ray.pipelines.runtime.worker_entry import enter_worker
from m3ray.storage.versions import software_versions
from m3ray.video.metadata import VideoMetadata
from m3ray.video.sandbox import Decoder

# Attempt, metadata and frames, as `Decoder.windows_in_one_pass` yields them.
AttemptedWindow = tuple[int, VideoMetadata, np.ndarray]

# Clips of which the ledger is told at once: when the process dies, it is not known which of them it was, and a death
# is held against each.
_TOLD_AT_ONCE = 16


class DecodeStage:
    """Decodes clips, one table a window, so that memory holds the frames of one at a time.

    Args:
        config: Rate, size and window of the frames.
        limits: Per-clip resource limits.
        first_frame_only: Whether no more than the first frame of each clip is decoded.
        first_frame_tiers: Names of tiers that see the first frame alone: a clip that lacks no other tier is decoded no
            further.
        decoder: Decoder that reads the videos.
        threads: Threads that a clip is decoded with, more than one where cores would idle.
        ledger: Handle of a `crash_guard.Ledger` actor; None repeats a clip that kills its process for ever, and lets
            each process find out by itself whether the storage answers.
    """

    def __init__(
        self,
        config: DecodeConfig,
        limits: LimitsConfig,
        *,
        first_frame_only: bool = False,
        first_frame_tiers: Collection[str] = (),
        decoder: DecoderName = "auto",
        threads: int = 1,
        ledger: Any = None,
    ) -> None:
        self.config = config
        self.limits = limits
        self.threads = threads
        self.first_frame_only = first_frame_only
        self.first_frame_tiers = frozenset(first_frame_tiers)
        self.decoder = decoder
        self.guard: CrashGuard[DecodedClip, DecodedClip] = CrashGuard(
            ledger, "decode", limits.crash_count, _reject_crashing
        )
        self.retry = make_retry(limits, ledger)
        self.software = software_versions()  # the driver's: a stage is made there, and travels to the workers

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Decode a batch of clips.

        Args:
            batch: Rows of `records.WORK`.
        Yields:
            A row of `records.DECODED` for each clip, or for each window of a clip that has several; what becomes of a
            clip that fails, last.
        Raises:
            ConfigError: If this node has other software, which changes numbers.
            StorageError: If the storage answered no request as long as the job waits.
        """
        enter_worker()
        check_worker(self.software)
        decoder = process_decoder(self.config, self.limits, self.decoder, self.threads)
        clips, told = unpack_work(batch), _TOLD_AT_ONCE if self.limits.crash_count > 1 else 1
        for start in range(0, len(clips), told):
            for row in self.guard.stream(clips[start : start + told], partial(self._decode, decoder)):
                yield pack_decoded_clips([row])

    def _decode(self, decoder: Decoder, clip: DecodedClip) -> Iterator[DecodedClip]:
        """The windows of a clip; what it fails with, if it does."""
        row, start = clip, time.perf_counter()
        try:
            data = self.retry.read(clip.uri, self.limits.max_bytes)
            for row in self._cut_into_windows(clip, self._read_frames(decoder, data, clip)):
                yield replace(row, seconds=time.perf_counter() - start)
                start = time.perf_counter()  # what the one that takes the row spends is no decoding
        except DecodeError as error:
            # In place of the next window: that one ends the clip, whose other windows are on their way.
            part = None if row.part is None else replace(row.part, index=row.part.index + 1)
            failure, seconds = failure_of(error, error.stage), time.perf_counter() - start
            yield replace(clip, part=part, failure=failure, seconds=seconds)

    def _read_frames(self, decoder: Decoder, data: bytes, clip: DecodedClip) -> Iterator[AttemptedWindow]:
        if self._needs_first_frame_only(clip):
            return ((0, *window) for window in decoder.windows(data, extent="first_frame"))
        return decoder.windows_in_one_pass(data)

    def _cut_into_windows(self, clip: DecodedClip, windows: Iterator[AttemptedWindow]) -> Iterator[DecodedClip]:
        index, newest, lead, part = 0, 0, None, None
        for attempt, metadata, frames in windows:
            if attempt > newest:
                index, newest, lead = 0, attempt, None
            count = -(-metadata.sampled // self.config.window_frames)
            # A clip of several windows is a row a window, so that its frames are decoded once and never all in memory.
            is_part = count > 1 and not self._needs_first_frame_only(clip)
            part = Part(index, count, attempt) if is_part else None
            if is_part and index == count:
                raise _count_error(f"more than {count}")
            yield replace(clip, metadata=metadata, frames=frames, part=part, lead=lead)
            index, lead = index + 1, frames[-1:].copy()
        if part is not None and index < part.count:
            raise _count_error(f"{index} of {part.count}")

    def _needs_first_frame_only(self, row: DecodedClip) -> bool:
        return self.first_frame_only or (bool(row.tiers) and self.first_frame_tiers.issuperset(row.tiers))


@dataclass(frozen=True)
class OnlyRows:
    """Decodes clips, and keeps some of the rows: of a clip's sliding windows those that are still to be computed.

    What becomes of a clip that cannot be decoded now is a row in any case, whatever its id.

    Args:
        stage: From rows of `records.WORK` to rows of `records.DECODED`.
        clip_ids: Ids of the rows that are kept.
    """

    stage: Callable[[pa.Table], Iterator[pa.Table]]
    clip_ids: frozenset[str]

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Decode a batch of clips.

        Args:
            batch: Rows of `records.WORK`.
        Yields:
            Rows of `records.DECODED`.
        """
        ids = pa.array(sorted(self.clip_ids), pa.string())
        for table in self.stage(batch):
            yield table.filter(pc.or_(pc.is_in(table["clip_id"], value_set=ids), pc.is_valid(table["error"])))


def _count_error(windows: str) -> DecodeError:
    """Of a clip that would else wait for ever for its other windows."""
    return DecodeError("damaged", f"{windows} windows come: it does not decode twice alike, copy or convert it again")


def _reject_crashing(row: DecodedClip, record: CrashRecord) -> DecodedClip:
    return replace(row, failure=crash_failure("decode", record.deaths))


@cache
def process_decoder(
    config: DecodeConfig, limits: LimitsConfig, decoder: DecoderName = "auto", threads: int = 1
) -> Decoder:
    """The decoder of this worker process, with one child: starting one costs more than decoding a clip.

    Args:
        config: Rate, size and window of the frames.
        limits: Per-clip resource limits.
        decoder: Decoder that reads the videos.
        threads: Threads that it decodes with.
    Returns:
        The decoder, the same for the same arguments; it is closed when the process ends.
    """
    shared = Decoder(config, limits, decoder, threads=threads)
    atexit.register(shared.close)
    return shared
