"""A tier that sleeps instead of computing, and clips without videos: what remains is the scheduling of the work.

GPUs may be so in name alone, as those are that Ray is told of: nothing is computed on them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from m3ray.pipelines.extraction import dataflow
from m3ray.pipelines.extraction.records import pack_decoded_clips, unpack_work
from m3ray.pipelines.extraction.tier_stage import TierStage
from m3ray.schema import vector_schema
from m3ray.tiers import WeightedValue, Window, WindowFeatures
from m3ray.video.metadata import VideoMetadata

METADATA = VideoMetadata(8, 8, 1.0, 1.0, 1, 1, 100, "mov", "none")


class SleepTier:
    """Sleeps for a time a clip; its numbers tell which process slept, and until when.

    Args:
        seconds: Time of sleep a clip, seconds.
    """

    name, whole_clip, untrained = "sleep", False, False

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.start = time.time()

    @property
    def schema(self) -> pa.Schema:
        return vector_schema("sleep", 2)

    def identity(self) -> dict[str, Any]:
        return {"tier": "sleep"}

    def setup(self, device: torch.device) -> None:
        pass

    def compute(self, windows: Sequence[Window]) -> list[WindowFeatures]:
        time.sleep(self.seconds * len(windows))
        return [{"sleep": WeightedValue(np.array([os.getpid(), time.time() - self.start]), 1)} for _ in windows]


class StageWithGpuInName(TierStage):
    """A tier stage that does not look for CUDA on its GPU."""

    def _take_device(self) -> torch.device:
        return torch.device("cpu")


def take_gpus_in_name() -> None:
    """Let extractions of this process run on GPUs in name."""
    vars(dataflow).update(TierStage=StageWithGpuInName)


def frames_without_video(batch: pa.Table) -> Iterator[pa.Table]:
    """Make a frame for every clip, as decoding would leave it."""
    for row in unpack_work(batch):
        yield pack_decoded_clips([replace(row, metadata=METADATA, frames=np.zeros((1, 8, 8, 3), np.uint8))])
