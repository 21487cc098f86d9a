"""The raw tier: the pixel statistics, flow and HOG of every frame, averaged over the clip."""

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
from m3ray.tiers.base import Measured, Weighted, Window
from m3ray.tiers.flow import mean_optical_flow
from m3ray.tiers.hog import hog_of_bytes
from m3ray.tiers.hog_pca import HogProjection
from m3ray.tiers.raw import blurriness, contrast, pixel_sums, planes

CODE_VERSION = 1
_FRAMES_AT_ONCE = 16  # bounds the float copies of a window to about 40 MB


@dataclass
class RawTier:
    """Fifteen numbers of raw perception.

    Args:
        config: the tier's settings.
        projection: HOG's PCA, fitted on the train split.
    """

    config: RawConfig
    projection: HogProjection

    name = "raw"
    whole_clip = True
    schema: ClassVar[pa.Schema] = RAW
    untrained = False

    def identity(self) -> dict[str, Any]:
        return {"tier": self.name, "code": CODE_VERSION, "config": as_json(self.config), "hog": self.projection.sha256}

    def setup(self, device: torch.device) -> None:
        self._device = device

    def measure(self, windows: Sequence[Window]) -> list[Measured]:
        return [self._window(window) for window in windows]

    def _window(self, window: Window) -> Measured:
        parts = [self._frames(window, start) for start in range(0, len(window.frames), _FRAMES_AT_ONCE)]
        values = {
            column: Weighted(_mean(parts, column), sum(part[column].weight for part in parts)) for column in parts[0]
        }
        return {**values, "size_bytes": Weighted(np.array(window.video_bytes, np.float64), len(window.frames))}

    def _frames(self, window: Window, start: int) -> dict[str, Weighted]:
        frames = window.frames[start : start + _FRAMES_AT_ONCE]
        rgb8 = planes(frames).to(self._device)
        bright, gray = pixel_sums(rgb8)
        gray, count = gray[None], len(frames)
        flow, pairs = self._flow(gray, window, start)
        descriptor = hog_of_bytes(rgb8).mean(dim=0)
        return {
            "brightness": Weighted(bright.mean().cpu().numpy(), count),
            "contrast": Weighted(contrast(gray)[0].cpu().numpy(), count),
            "blurriness": Weighted(blurriness(gray, self.config.blur_half_width)[0].cpu().numpy(), count),
            "mean_optical_flow": Weighted(flow, pairs),
            # HOG's projection is linear, so it may follow the mean over frames.
            "hog": Weighted(self.projection.transform(descriptor.cpu().numpy()[None])[0], count),
        }

    def _flow(self, gray: Tensor, window: Window, start: int) -> tuple[np.ndarray, int]:
        """Mean flow over these frames and the pair that joins them to the ones before."""
        before = window.frames[start - 1] if start else window.lead
        if before is not None:
            first = planes(before[None]).to(self._device)
            gray = torch.cat([pixel_sums(first)[1][None], gray], dim=1)
        return mean_optical_flow(gray)[0].cpu().numpy(), gray.shape[1] - 1


def _mean(parts: Sequence[Measured], column: str) -> np.ndarray:
    weight = sum(part[column].weight for part in parts)
    total = sum(np.asarray(part[column].value, np.float64) * part[column].weight for part in parts)
    return np.asarray(total / weight if weight else total)
