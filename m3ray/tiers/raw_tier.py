"""The raw tier: pixel statistics, optical flow and HOG of every frame, averaged over the clip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from m3ray.tiers.precision import float32_precision
from m3ray.tiers.raw import blurriness, brightness_and_luma, contrast, split_channels
from m3ray.tiers.transfers import Upload, transfers_of

CODE_VERSION = 1
_FRAMES_AT_ONCE = 16  # bounds the float copies of a window to about 40 MB
_FRAMES_AT_ONCE_ON_GPU = 64  # more frames a launch; the copies then take about 1 GB


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
        """Choose where to compute, and upload HOG's PCA; there are no weights to load.

        Args:
            device: device that `compute` runs on.
        """
        self._device = device
        self._project = self.projection.on_device(device)

    def compute(self, windows: Sequence[Window]) -> list[WindowFeatures]:
        """Compute the fifteen numbers of each window.

        On a GPU a window's frames are copied while the one before it is computed, and the caller waits once, for the
        numbers of all windows.

        Args:
            windows: windows of one or of several clips.
        Returns:
            The raw columns of each window, weighted by its frames, or for optical flow by its pairs of frames.
        """
        if self._device.type == "cpu":
            return [_weigh(window, self._compute_window(window).numpy(), _FRAMES_AT_ONCE) for window in windows]
        transfers = transfers_of(self._device)
        uploads = transfers.upload(transfers.stage(_frames_and_lead(window)) for window in windows)
        numbers = [self._compute_uploaded(window, upload) for window, upload in zip(windows, uploads, strict=True)]
        found = transfers.download(numbers)
        return [_weigh(window, rows, _FRAMES_AT_ONCE_ON_GPU) for window, rows in zip(windows, found, strict=True)]

    def _compute_window(self, window: Window) -> Tensor:
        lead = None if window.lead is None else split_channels(window.lead[None])
        starts = range(0, len(window.frames), _FRAMES_AT_ONCE)
        return self.compute_parts(lead, (split_channels(window.frames[k : k + _FRAMES_AT_ONCE]) for k in starts))

    def _compute_uploaded(self, window: Window, upload: Upload) -> Tensor:
        # Channels apart, as `split_channels` has them, but split where there is bandwidth.
        planes = upload.wait().movedim(-1, 0).contiguous().transpose(0, 1)
        lead, planes = (None, planes) if window.lead is None else (planes[:1], planes[1:])
        return self.compute_parts(lead, planes.split(_FRAMES_AT_ONCE_ON_GPU))

    def compute_parts(self, lead: Tensor | None, parts: Iterable[Tensor]) -> Tensor:
        """Compute the numbers of a window's parts on their device, without waiting for them.

        Args:
            lead: the frame before the first part, uint8, (1, 3, 256, 256); None at the beginning of a clip.
            parts: consecutive frames, uint8, each (T, 3, 256, 256).
        Returns:
            Brightness, contrast, blurriness, mean flow and HOG of each part, float32, (parts, 14).
        """
        before = None if lead is None else brightness_and_luma(lead)[1]
        rows = []
        with float32_precision():
            for part in parts:
                row, before = self._compute_part(part, before)
                rows.append(row)
        return torch.stack(rows)

    def _compute_part(self, rgb: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """Numbers of a part, and the luma of its last frame, which the next part's flow begins with."""
        bright, gray = brightness_and_luma(rgb)
        joined = gray if before is None else torch.cat([before, gray])
        numbers = [
            bright.mean()[None],
            contrast(gray[None]),
            blurriness(gray[None], self.config.blur_half_width),
            mean_optical_flow(joined[None]),
            # HOG's projection is linear, so it may follow the mean over frames.
            self._project(hog_of_bytes(rgb).mean(dim=0)[None])[0],
        ]
        return torch.cat(numbers), gray[-1:]


def _frames_and_lead(window: Window) -> list[np.ndarray]:
    return [window.frames] if window.lead is None else [window.lead[None], window.frames]


def _weigh(window: Window, rows: np.ndarray, step: int) -> WindowFeatures:
    """Mean over a window's parts of `step` frames, whose numbers are `rows`, (parts, 14)."""
    frames = [min(step, len(window.frames) - start) for start in range(0, len(window.frames), step)]
    pairs = [frames[0] - (window.lead is None), *frames[1:]]
    return {
        "brightness": _average(rows[:, 0], frames),
        "contrast": _average(rows[:, 1], frames),
        "blurriness": _average(rows[:, 2], frames),
        "mean_optical_flow": _average(rows[:, 3], pairs),
        "hog": _average(rows[:, 4:], frames),
        "size_bytes": WeightedValue(np.array(window.video_bytes, np.float64), len(window.frames)),
    }


def _average(parts: np.ndarray, weights: Sequence[int]) -> WeightedValue:
    weight = sum(weights)
    total = sum(np.asarray(part, np.float64) * count for part, count in zip(parts, weights, strict=True))
    return WeightedValue(np.asarray(total / weight if weight else total), weight)
