"""The raw tier: pixel statistics, optical flow and HOG of every frame, averaged over the clip."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
from m3ray.tiers.raw_batch import (
    PLAIN_STEPS,
    Piece,
    average_rows,
    fit_frames,
    measure_part,
    plan_parts,
    read_free_bytes,
)
from m3ray.tiers.slab import upload_windows
from m3ray.tiers.transfers import transfers_of

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
        """Choose where to compute, and upload HOG's PCA; there are no weights to load.

        Args:
            device: device that `compute` runs on.
        """
        self._device = device
        self._steps = PLAIN_STEPS
        self._project = self.projection.on_device(device)

    def compile(self) -> None:
        """Let torch.compile fuse what a GPU computes; call it after `setup`."""
        from m3ray.tiers.raw_compiled import compile_steps  # it takes as long to import as torch itself

        self._steps = compile_steps(self._steps)

    def compute(self, windows: Sequence[Window]) -> list[WindowFeatures]:
        """Compute the fifteen numbers of each window: on a CPU one by one, on a GPU together.

        Args:
            windows: windows of one or of several clips.
        Returns:
            The raw columns of each window, weighted by its frames, or for optical flow by its pairs of frames.
        """
        if self._device.type == "cpu":
            found = [_weigh(window, self._compute_window(window).numpy(), _FRAMES_AT_ONCE) for window in windows]
            return self._apply_units(windows, found)
        return self.compute_together(windows)

    @torch.no_grad()
    def compute_together(self, windows: Sequence[Window]) -> list[WindowFeatures]:
        """Compute the windows of a batch as one run of frames, on any device; the caller waits once.

        Args:
            windows: windows of one or of several clips, of any lengths; frames that are not `uploaded` travel as one
                slab.
        Returns:
            The raw columns of each window, as `compute` gives them.
        """
        if not windows:
            return []
        if any(window.uploaded is None for window in windows):
            windows = upload_windows(windows, self._device)
        tensors = [window.uploaded.wait() for window in windows if window.uploaded is not None]
        parts = plan_parts([len(rows) for rows in tensors], fit_frames(read_free_bytes(self._device)))
        with float32_precision():
            numbers = [self._measure_pieces(pieces, tensors) for pieces in parts]
        return self._apply_units(windows, average_rows(windows, parts, transfers_of(self._device).download(numbers)))

    def _apply_units(self, windows: Sequence[Window], found: Sequence[WindowFeatures]) -> list[WindowFeatures]:
        """Blurriness and flow in the units of the settings, which the means over frames come before."""
        if self.config == replace(self.config, blur_logarithm="common", flow_fps=None):
            return list(found)
        natural = math.log(10) if self.config.blur_logarithm == "natural" else 1.0
        return [
            {
                **features,
                "blurriness": _times(features["blurriness"], natural),
                "mean_optical_flow": _times(features["mean_optical_flow"], self._flow_factor(window)),
            }
            for window, features in zip(windows, found, strict=True)
        ]

    def _flow_factor(self, window: Window) -> float:
        """A clip's rate as a share of the sampling rate: 1 unless it has fewer frames a second than that."""
        fps = self.config.flow_fps
        return 1.0 if fps is None else min(window.rate, fps) / fps

    def _measure_pieces(self, pieces: Sequence[Piece], tensors: Sequence[Tensor]) -> Tensor:
        frames = torch.cat([tensors[piece.window][piece.start : piece.stop] for piece in pieces])
        lengths = [len(piece) for piece in pieces]
        return measure_part(frames, lengths, self.config.blur_half_width, self._project, self._steps)

    def _compute_window(self, window: Window) -> Tensor:
        lead = None if window.lead is None else split_channels(window.lead[None])
        starts = range(0, len(window.frames), _FRAMES_AT_ONCE)
        return self.compute_parts(lead, (split_channels(window.frames[k : k + _FRAMES_AT_ONCE]) for k in starts))

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


def _times(value: WeightedValue, factor: float) -> WeightedValue:
    return replace(value, value=value.value * factor)


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
