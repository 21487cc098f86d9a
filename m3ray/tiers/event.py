"""The event tier: CSN-152, pooled, on the whole clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch

from m3ray.config import EventConfig, as_json
from m3ray.schema import vector_schema
from m3ray.tiers.backbones.csn import FEATURES, ip_csn_152, ir_csn_152
from m3ray.tiers.base import Measured, Weighted, Window
from m3ray.tiers.vector import Network, WeightSource, batched

CODE_VERSION = 1
MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)  # Kinetics-400's
NETWORKS = {"ip": ip_csn_152, "ir": ir_csn_152}
# Three halvings in time leave nothing to average below this length.
FEWEST_FRAMES = 8


@dataclass
class EventTier:
    """2,048 numbers of what happens in a clip.

    A window shorter than 8 frames is padded by repeating its last frame. A clip of several windows gets the mean over
    them, each counting by its frames.

    Args:
        config: the tier's settings, precision resolved.
        source: CSN-152's weights.
    """

    config: EventConfig
    source: WeightSource

    name = "event"
    whole_clip = True
    schema: ClassVar[pa.Schema] = vector_schema("event", FEATURES)

    @property
    def untrained(self) -> bool:
        return self.source.untrained

    @property
    def network(self) -> Network:
        assert self.config.precision != "auto", "precision is resolved before a tier is made"
        return Network(NETWORKS[self.config.network], MEAN, STD, self.source, self.config.precision)

    def identity(self) -> dict[str, Any]:
        weights = self.source.identity()
        return {"tier": self.name, "code": CODE_VERSION, "config": as_json(self.config), "weights": weights}

    def setup(self, device: torch.device) -> None:
        self._network = self.network.load(device)

    def measure(self, windows: Sequence[Window]) -> list[Measured]:
        measured = batched(self._network, [padded(window.frames) for window in windows], self.name)
        return [
            {self.name: Weighted(values[self.name].value, len(window.frames))}
            for window, values in zip(windows, measured, strict=True)
        ]


def padded(frames: np.ndarray) -> np.ndarray:
    """At least `FEWEST_FRAMES` frames, the last one repeated."""
    lacking = FEWEST_FRAMES - len(frames)
    return frames if lacking <= 0 else np.concatenate([frames, np.repeat(frames[-1:], lacking, axis=0)])
