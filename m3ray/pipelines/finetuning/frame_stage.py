"""Frames for training: a place in the stream of all epochs to a clip's frames, in tasks on CPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from m3ray.config import LimitsConfig
from m3ray.errors import DecodeError, M3RayError, StorageError
from m3ray.pipelines.extraction.decode_stage import shared_decoder
from m3ray.pipelines.extraction.patience import unsparing_patience
from m3ray.pipelines.runtime.worker_entry import enter_worker
from m3ray.storage.faults import StorageFault
from m3ray.training.finetuning.sampler import Order
from m3ray.video.frame_cache import FrameStore, stretch

FRAMES = pa.schema(
    [
        ("place", pa.int64()),
        ("row", pa.int64()),
        ("counts", pa.bool_()),
        ("frames", pa.large_binary()),
        ("shape", pa.list_(pa.int32())),
    ]
)


@dataclass(frozen=True)
class FramesStage:
    """Reads the clips of a block of places.

    Args:
        order: which clip stands where.
        rows: positions of its clips in the study's matrix.
        uris: of all clips of the matrix.
        store: of their frames.
        limits: what a clip may cost.
        most: frames of a clip, at most.
        start: the first place of the stream.
    """

    order: Order
    rows: np.ndarray
    uris: Sequence[str]
    store: FrameStore
    limits: LimitsConfig
    most: int
    start: int = 0

    def __call__(self, batch: pa.Table) -> pa.Table:
        enter_worker()
        places = batch["id"].to_numpy() + self.start
        clips, counts, epochs = self.order.at(places)
        rows = self.rows[clips]
        frames = [self._frames(row, int(epoch)) for row, epoch in zip(rows, epochs, strict=True)]
        columns = {"place": places, "row": rows, "counts": counts, "frames": [f.tobytes() for f in frames]}
        return pa.table({**columns, "shape": [list(f.shape) for f in frames]}, schema=FRAMES)

    def _frames(self, row: int, epoch: int) -> np.ndarray:
        uri = self.uris[row]
        try:
            decoder = shared_decoder(self.store.decode, self.limits)
            # The stream cannot go on without this clip.
            frames = self.store.frames(decoder, uri, self.limits, unsparing_patience(self.limits).read)
        except StorageFault as error:
            raise StorageError(f"{error.message}. Then run the same command again") from error
        except DecodeError as error:
            raise M3RayError(
                f"{uri} has features and cannot be read any more ({error.reason}: {error.message}): bring it back, or "
                "drop the clip from the catalogue"
            ) from error
        drawn = None if self.order.seed is None else np.random.default_rng([self.order.seed, epoch, row])
        return np.ascontiguousarray(stretch(frames, self.most, drawn))
