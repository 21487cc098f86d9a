"""Networks of images on clips: the mean over about one frame a second, or the first frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from m3ray.config import DecodeConfig, ImageNetworkConfig
from m3ray.tiers.base import WeightedValue, Window, WindowFeatures
from m3ray.tiers.network import compute_vectors
from m3ray.tiers.network_tier import VectorTier
from m3ray.tiers.slab import Frames, first_of, take_frames


@dataclass
class ImageNetworkTier(VectorTier):
    """The mean vector of a network of images over a clip's frames.

    It looks at the frame in the middle of each second, at one at least: neighbouring frames say nearly the same, and
    a large network takes a quarter of a second for each on a core.

    Args:
        config: settings of the tier, precision resolved.
        source: weights of the network.
        model: name of the network, where its library has several.
        decode: how clips are sampled.
    """

    config: ImageNetworkConfig
    model: str = ""
    decode: DecodeConfig = field(default_factory=DecodeConfig)

    @property
    def whole_clip(self) -> bool:
        """Whether it looks beyond the first frame."""
        return self.config.frames == "mean"

    def compute(self, windows: Sequence[Window]) -> list[WindowFeatures]:
        """Compute the tier's columns of each window.

        Args:
            windows: windows of one or of several clips.
        Returns:
            The columns, weighted by the frames that were looked at; nothing for a window with none of them.
        """
        frames = [self._take(window) for window in windows]
        flat = [frame for group in frames for frame in group]
        vectors = iter([] if not flat else compute_vectors(self.loaded, flat, self.column))
        return [
            self.summarise(np.stack([next(vectors)[self.column].value for _ in group])) if group else {}
            for group in frames
        ]

    def summarise(self, vectors: np.ndarray) -> WindowFeatures:
        """Make the tier's columns from the outputs of the frames of a window.

        Args:
            vectors: the network's output for each frame, (T, width).
        Returns:
            Their mean, weighted by T.
        """
        return {self.column: WeightedValue(vectors.mean(axis=0, dtype=np.float64), len(vectors))}

    def _take(self, window: Window) -> list[Frames]:
        first = [0] if window.index == 0 else []
        chosen = choose_frames(window, self.decode) if self.whole_clip else first
        return [first_of(take_frames(window, k, k + 1)) for k in chosen]

    def identity(self) -> dict[str, Any]:
        """All that changes the tier's numbers, how its input is made included."""
        return {**super().identity(), "input": self.describe_input()}

    def describe_input(self) -> str:
        """How frames become the network's input, as text that changes when that does."""
        raise TypeError(f"{type(self).__name__} does not say what it sees")


def choose_frames(window: Window, decode: DecodeConfig) -> list[int]:
    """Choose the frames of a window that stand for its clip: the one in the middle of each second.

    Args:
        window: the window.
        decode: how its clip was sampled.
    Returns:
        Positions in the window; of a clip that ends before the middle of its first second that of its middle frame.
    """
    rate = min(window.rate, decode.fps)
    start, end = window.index * decode.window_frames, window.index * decode.window_frames + len(window.frames)
    seconds = range(max(0, math.floor(start / rate) - 1), math.ceil(end / rate) + 1)
    chosen = sorted({math.floor((second + 0.5) * rate) for second in seconds})
    inside = [frame - start for frame in chosen if start <= frame < end]
    return inside or ([len(window.frames) // 2] if window.index == 0 else [])
