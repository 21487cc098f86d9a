"""The raw tier: pixel statistics, optical flow and HOG of every frame, averaged over the clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from m3ray.config import RawConfig, as_json
from m3ray.schema import RAW
from m3ray.tiers.base import WeightedValue, Window, WindowFeatures
from m3ray.tiers.flow import mean_optical_flow
from m3ray.tiers.hog import hog_of_bytes
from m3ray.tiers.hog_pca import HogProjection
from m3ray.tiers.raw import blurriness, brightness_and_luma, contrast, split_channels

CODE_VERSION = 1
_FRAMES_AT_ONCE = 16  # bounds the float copies of a window to about 40 MB


@dataclass
class RawTier:
    """Fifteen numbers of raw perception.

    Args:
        config: settings of the tier.
        projection: HOG's PCA, fitted on the train split.
    """

    config: RawConfig
    projection: HogProjection

    name = "raw"
    whole_clip = True
    schema: ClassVar[pa.Schema] = RAW
    untrained = False

    def identity(self) -> dict[str, Any]:
        """All that changes the tier's numbers; its hash is the tier's fingerprint."""
        return {"tier": self.name, "code": CODE_VERSION, "config": as_json(self.config), "hog": self.projection.sha256}

    def setup(self, device: torch.device) -> None:
        """Choose where to compute; there are no weights to load.

        Args:
            device: device that `compute` runs on.
        """
        self._device = device

    def compute(self, windows: Sequence[Window]) -> list[WindowFeatures]:
        """Compute the fifteen numbers of each window.

        Args:
            windows: windows of one or of several clips.
        Returns:
            The raw columns of each window, weighted by its frames, or for optical flow by its pairs of frames.
        """
        return [self._compute_window(window) for window in windows]

    def _compute_window(self, window: Window) -> WindowFeatures:
        starts = range(0, len(window.frames), _FRAMES_AT_ONCE)
        parts = [self._compute_frames(window, start) for start in starts]
        values = {column: _average(parts, column) for column in parts[0]}
        return {**values, "size_bytes": WeightedValue(np.array(window.video_bytes, np.float64), len(window.frames))}

    def _compute_frames(self, window: Window, start: int) -> WindowFeatures:
        frames = window.frames[start : start + _FRAMES_AT_ONCE]
        rgb = split_channels(frames).to(self._device)
        bright, gray = brightness_and_luma(rgb)
        gray, count = gray[None], len(frames)
        flow, pairs = self._compute_flow(gray, window, start)
        descriptor = hog_of_bytes(rgb).mean(dim=0)
        return {
            "brightness": WeightedValue(bright.mean().cpu().numpy(), count),
            "contrast": WeightedValue(contrast(gray)[0].cpu().numpy(), count),
            "blurriness": WeightedValue(blurriness(gray, self.config.blur_half_width)[0].cpu().numpy(), count),
            "mean_optical_flow": WeightedValue(flow, pairs),
            # HOG's projection is linear, so it may follow the mean over frames.
            "hog": WeightedValue(self.projection.transform(descriptor.cpu().numpy()[None])[0], count),
        }

    def _compute_flow(self, gray: Tensor, window: Window, start: int) -> tuple[np.ndarray, int]:
        """Mean flow over these frames and the pair that joins them to the ones before."""
        before = window.frames[start - 1] if start else window.lead
        if before is not None:
            first = split_channels(before[None]).to(self._device)
            gray = torch.cat([brightness_and_luma(first)[1][None], gray], dim=1)
        return mean_optical_flow(gray)[0].cpu().numpy(), gray.shape[1] - 1


def _average(parts: Sequence[WindowFeatures], column: str) -> WeightedValue:
    weight = sum(part[column].weight for part in parts)
    total = sum(np.asarray(part[column].value, np.float64) * part[column].weight for part in parts)
    return WeightedValue(np.asarray(total / weight if weight else total), weight)
