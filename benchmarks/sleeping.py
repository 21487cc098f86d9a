"""A tier that sleeps instead of computing, and clips without videos: what is left is how the work is laid out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from m3ray.pipelines.extraction.records import decoded_table, work_rows
from m3ray.schema import vector_schema
from m3ray.tiers import Measured, Weighted, Window
from m3ray.video.sampling import Facts

FACTS = Facts(8, 8, 1.0, 1.0, 1, 1, 100, "mov", "none")


class SleepTier:
    """Sleeps for `seconds` a clip; its numbers tell which process slept, and until when."""

    name, whole_clip, untrained = "sleep", False, False

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun = time.time()

    @property
    def schema(self) -> pa.Schema:
        return vector_schema("sleep", 2)

    def identity(self) -> dict[str, Any]:
        return {"tier": "sleep"}

    def setup(self, device: torch.device) -> None:
        pass

    def measure(self, windows: Sequence[Window]) -> list[Measured]:
        time.sleep(self.seconds * len(windows))
        return [{"sleep": Weighted(np.array([os.getpid(), time.time() - self.begun]), 1)} for _ in windows]


def frames_without_video(batch: pa.Table) -> Iterator[pa.Table]:
    """A frame for every clip, as decoding would leave it."""
    for row in work_rows(batch):
        yield decoded_table([replace(row, facts=FACTS, frames=np.zeros((1, 8, 8, 3), np.uint8))])
