"""The event tier: CSN-152, pooled, on the whole clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m3ray.config import EventConfig
from m3ray.tiers.backbones.csn import FEATURES, ip_csn_152, ir_csn_152
from m3ray.tiers.base import Measured, Weighted, Window
from m3ray.tiers.network import Network, Normalise, batched
from m3ray.tiers.network_tier import VectorTier

NETWORKS = {"ip": ip_csn_152, "ir": ir_csn_152}
NORMALISE = Normalise((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))  # Kinetics-400's
# Three halvings in time leave nothing to average below this length.
FEWEST_FRAMES = 8


class EventTier(VectorTier):
    """2,048 numbers of what happens in a clip.

    A window shorter than 8 frames is padded by repeating its last frame. A clip of several windows gets the mean over
    them, each counting by its frames.
    """

    name = "event"
    width = FEATURES
    whole_clip = True

    @property
    def network(self) -> Network:
        assert isinstance(self.config, EventConfig)
        assert self.config.precision != "auto", "precision is resolved before a tier is made"
        return Network(NETWORKS[self.config.network], NORMALISE, self.source, self.config.precision)

    def measure(self, windows: Sequence[Window]) -> list[Measured]:
        """One vector a window."""
        measured = batched(self.loaded, [padded(w.frames, FEWEST_FRAMES) for w in windows], self.column)
        return [
            {self.column: Weighted(values[self.column].value, len(window.frames))}
            for window, values in zip(windows, measured, strict=True)
        ]


def padded(frames: np.ndarray, fewest: int) -> np.ndarray:
    """At least `fewest` frames, the last one repeated."""
    lacking = fewest - len(frames)
    return frames if lacking <= 0 else np.concatenate([frames, np.repeat(frames[-1:], lacking, axis=0)])
