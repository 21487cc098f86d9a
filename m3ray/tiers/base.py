"""The interface that every tier has: a stage that turns windows of frames into named numbers, without Ray."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from m3ray.config import DecodeConfig, fingerprint
from m3ray.errors import FeatureError
from m3ray.video.metadata import VideoMetadata
from m3ray.video.sampling import DECODING

if TYPE_CHECKING:  # decoders name what tiers take and give, and start without PyTorch
    import torch

    from m3ray.tiers.transfers import Upload

SPREAD = "_spread"
"""Ending of a column that is the standard deviation over frames of the column without it."""


@dataclass(frozen=True)
class Window:
    """Consecutive sampled frames of one clip.

    Args:
        frames: sampled frames, uint8, (T, 256, 256, 3), RGB.
        index: position of the window in its clip, counted from 0.
        lead: the frame before the window's first one, uint8, (256, 256, 3); None in the first window of a clip.
        video_bytes: size in bytes of the clip's video stream as stored, audio not counted.
        uploaded: `lead` if there is one, and `frames`, (1 + T or T, 256, 256, 3), on their way to the device that
            computes them; None where each tier copies what it needs.
        rate: frames a second of a clip whose frames were all taken, once each, as it has no more than asked for;
            infinite where the clip was sampled at the rate that was asked for, or nothing is known.
    """

    frames: np.ndarray
    index: int = 0
    lead: np.ndarray | None = None
    video_bytes: int = 0
    uploaded: Upload | None = None
    rate: float = math.inf


def own_rate(metadata: VideoMetadata) -> float:
    """Rate of a window's frames, as `Window` has it.

    Args:
        metadata: metadata of the clip, or of a sliding window of it.
    Returns:
        The clip's own frames a second, which may be more than were asked for; infinite where it shows so many
        somewhere that it was sampled, though its mean is lower.
    """
    # More samples than frames: some frame was taken twice, which sampling at a steady rate alone does.
    sampled = metadata.sampled > metadata.frames or metadata.native_fps <= 0
    return math.inf if sampled else metadata.native_fps


def iter_clip_windows(decoded: Iterable[tuple[VideoMetadata, np.ndarray]]) -> Iterator[tuple[VideoMetadata, Window]]:
    """Give each decoded window of one clip its position and the frame before it.

    Args:
        decoded: The clip's metadata and the frames of each window, in order, as `Decoder.windows` yields them.
    Yields:
        The metadata and the window, as tiers take it; one window is held at a time.
    """
    lead = None
    for index, (metadata, frames) in enumerate(decoded):
        yield metadata, Window(frames, index, lead, metadata.video_bytes, rate=own_rate(metadata))
        lead = frames[-1]


@dataclass(frozen=True)
class WeightedValue:
    """A window's value of one column, and its weight in the clip's mean.

    Args:
        value: the column's number, (), or vector, (width,).
        weight: frames for a mean over frames, pairs of frames for optical flow.
    """

    value: np.ndarray
    weight: float


# Column name to the value of one window.
WindowFeatures = Mapping[str, WeightedValue]


class Tier(Protocol):
    """A stage that computes named numbers of clips.

    Constructing one is cheap, so that it can be sent to workers; `setup` builds networks and the like where it runs.
    """

    @property
    def name(self) -> str:
        """The tier's name, as in `features/<name>-<fingerprint>/`."""

    @property
    def schema(self) -> pa.Schema:
        """The schema of its table: `clip_id` and the tier's columns."""

    @property
    def whole_clip(self) -> bool:
        """Whether it looks beyond the first frame, so that frame rate and window length change its numbers."""

    @property
    def untrained(self) -> bool:
        """Whether its numbers come from random weights."""

    def identity(self) -> dict[str, Any]:
        """All that changes the tier's numbers; its hash is the tier's fingerprint."""

    def setup(self, device: torch.device) -> None:
        """Load the weights.

        Args:
            device: device that `compute` runs on.
        """

    def compute(self, windows: Sequence[Window]) -> list[WindowFeatures]:
        """Compute the tier's columns.

        Args:
            windows: windows of one or of several clips, in any order.
        Returns:
            The columns of each window, in the same order; empty for a window that adds nothing to its clip.
        """


def tier_fingerprint(tier: Tier, decode: DecodeConfig) -> str:
    """The short hash of all that changes a tier's numbers.

    Args:
        tier: the tier, its precision resolved and its weights hashed.
        decode: how clips are sampled; a tier of the first frame depends on the frame size alone.
    """
    return fingerprint(tier.identity(), decode if tier.whole_clip else {"size": decode.size}, {"decoding": DECODING})


def average_windows(windows: Iterable[WindowFeatures]) -> dict[str, np.ndarray]:
    """The weighted mean over a clip's windows, column by column.

    A column `x_spread` beside a column `x` is the standard deviation of x over frames: that of the clip is of all its
    frames, not the mean of its windows'.

    Args:
        windows: what `Tier.compute` returned for the windows of one clip.
    Returns:
        Column name to its mean, float64; 0 where no window has any weight.
    """
    totals: dict[str, np.ndarray] = {}
    weights: dict[str, float] = {}
    for window in windows:
        for column, part in window.items():
            value = np.asarray(part.value, dtype=np.float64)
            mean = window.get(column.removesuffix(SPREAD)) if column.endswith(SPREAD) else None
            if mean is not None:  # second moments add up, deviations do not
                value = value**2 + np.asarray(mean.value, dtype=np.float64) ** 2
            totals[column] = totals.get(column, 0.0) + part.weight * value
            weights[column] = weights.get(column, 0.0) + part.weight
    means = {column: total / weights[column] if weights[column] else total for column, total in totals.items()}
    return {column: _as_deviation(column, means) for column in means}


def _as_deviation(column: str, means: Mapping[str, np.ndarray]) -> np.ndarray:
    """A column's mean; the standard deviation of a spread, of which there is the second moment."""
    mean = means.get(column.removesuffix(SPREAD)) if column.endswith(SPREAD) else None
    return means[column] if mean is None else np.sqrt(np.maximum(means[column] - mean**2, 0))


def check_finite(values: Mapping[str, np.ndarray], tier: str) -> None:
    """Reject a clip with NaN or infinite features, which would poison every model that reads them.

    Args:
        values: column name to the clip's value.
        tier: name of the tier, for the message.
    Raises:
        FeatureError: If a column is not finite.
    """
    bad = [column for column, value in values.items() if not np.isfinite(value).all()]
    if bad:
        raise FeatureError(f"tier {tier}: {', '.join(bad)} not finite; in untrained or damaged weights values overflow")
