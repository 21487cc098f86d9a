"""Frames for finetuning: from indices of the stream of all epochs to the frames of clips, in tasks on CPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from m3ray.config import LimitsConfig
from m3ray.errors import DecodeError, M3RayError, StorageError
from m3ray.pipelines.extraction.decode_stage import process_decoder
from m3ray.pipelines.extraction.storage_retries import make_persistent_retry
from m3ray.pipelines.runtime.worker_entry import enter_worker
from m3ray.storage.faults import StorageFaultError
from m3ray.training.finetuning.sampler import ClipSampler
from m3ray.video.frame_cache import FrameCache, temporal_crop

FRAMES = pa.schema(
    [
        ("index", pa.int64()),
        ("row", pa.int64()),
        ("mask", pa.bool_()),
        ("frames", pa.large_binary()),
        ("shape", pa.list_(pa.int32())),
    ]
)


@dataclass(frozen=True)
class FramesStage:
    """Read the frames of a block of the stream's indices.

    Args:
        sampler: Says which clip each index is.
        rows: Row of each of the sampler's clips in the study's matrix, (C,), int64.
        uris: Address of each clip of the matrix.
        cache: Keeps decoded frames.
        limits: Per-clip resource limits.
        max_frames: Number of frames of a clip, at most; of a longer clip a temporal crop.
        start: Index that the stream starts from.
    """

    sampler: ClipSampler
    rows: np.ndarray
    uris: Sequence[str]
    cache: FrameCache
    limits: LimitsConfig
    max_frames: int
    start: int = 0

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Read the frames of a block.

        Args:
            batch: Indices, counted from `start`, in the column `id`.
        Returns:
            A row an index: `FRAMES`; a place that the batch leaves empty has null frames, and nothing is read for it.
        Raises:
            StorageError: If the storage does not answer.
            M3RayError: If a clip cannot be read any more.
        """
        enter_worker()
        indices = batch["id"].to_numpy() + self.start
        samples = self.sampler.samples(indices)
        rows = self.rows[samples.clips]
        places = zip(rows, samples.epochs, samples.empty, strict=True)
        frames = [None if empty else self._read(row, int(epoch)) for row, epoch, empty in places]
        columns = {
            "index": indices,
            "row": rows,
            "mask": samples.mask,
            "frames": [None if f is None else f.tobytes() for f in frames],
            "shape": [None if f is None else list(f.shape) for f in frames],
        }
        return pa.table(columns, schema=FRAMES)

    def _read(self, row: int, epoch: int) -> np.ndarray:
        uri = self.uris[row]
        try:
            decoder = process_decoder(self.cache.decode, self.limits)
            # The stream cannot go on without this clip.
            frames = self.cache.frames(decoder, uri, self.limits, make_persistent_retry(self.limits).read)
        except StorageFaultError as error:
            raise StorageError(f"{error.message}. Then run the same command again") from error
        except DecodeError as error:
            raise M3RayError(
                f"{uri} has features and cannot be read any more ({error.reason}: {error.message}): bring it back, or "
                "drop the clip from the catalogue"
            ) from error
        generator = None if self.sampler.seed is None else np.random.default_rng([self.sampler.seed, epoch, row])
        return np.ascontiguousarray(temporal_crop(frames, self.max_frames, generator))
