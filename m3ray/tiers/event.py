"""The event tier: CSN-152, pooled, on the whole clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa
from torch import nn

from m3ray.config import EventConfig
from m3ray.schema import vector_schema
from m3ray.tiers.backbones.csn import FEATURES, ip_csn_152, ir_csn_152
from m3ray.tiers.base import Measured, Weighted, Window
from m3ray.tiers.vector import VectorTier, batched

NETWORKS = {"ip": ip_csn_152, "ir": ir_csn_152}
# Three halvings in time leave nothing to average below this length.
FEWEST_FRAMES = 8


class EventTier(VectorTier):
    """2,048 numbers of what happens in a clip.

    A window shorter than 8 frames is padded by repeating its last frame. A clip of several windows gets the mean over
    them, each counting by its frames.
    """

    name = "event"
    code_version = 1
    whole_clip = True
    schema: ClassVar[pa.Schema] = vector_schema("event", FEATURES)
    mean, std = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)  # Kinetics-400's

    @property
    def builder(self) -> Callable[[], nn.Module]:
        assert isinstance(self.config, EventConfig)
        return NETWORKS[self.config.network]

    def measure(self, windows: Sequence[Window]) -> list[Measured]:
        """One vector a window."""
        measured = batched(self._network, [padded(window.frames) for window in windows], self.name)
        return [
            {self.name: Weighted(values[self.name].value, len(window.frames))}
            for window, values in zip(windows, measured, strict=True)
        ]


def padded(frames: np.ndarray) -> np.ndarray:
    """At least `FEWEST_FRAMES` frames, the last one repeated."""
    lacking = FEWEST_FRAMES - len(frames)
    return frames if lacking <= 0 else np.concatenate([frames, np.repeat(frames[-1:], lacking, axis=0)])
