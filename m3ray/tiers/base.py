"""What every tier is: a stage that turns windows of frames into named numbers, and knows nothing of Ray."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch

from m3ray.config import DecodeConfig, fingerprint
from m3ray.errors import FeatureError
from m3ray.video.sampling import DECODING


@dataclass(frozen=True)
class Window:
    """Consecutive sampled frames of one clip.

    Args:
        frames: uint8, (T, 256, 256, 3), RGB.
        index: position of the window in its clip, from 0.
        lead: the frame before the first one, (256, 256, 3); None in the first window.
        video_bytes: size of the clip's video stream as stored.
    """

    frames: np.ndarray
    index: int = 0
    lead: np.ndarray | None = None
    video_bytes: int = 0


@dataclass(frozen=True)
class Weighted:
    """A window's value and how much it counts in the clip's mean (frames for a mean over frames)."""

    value: np.ndarray
    weight: float


Measured = Mapping[str, Weighted]


class Tier(Protocol):
    """A stage: constructed light, so that it travels; `setup` builds what is heavy where it runs."""

    @property
    def name(self) -> str:
        """The tier's name, as in `features/<name>-<fingerprint>/`."""

    @property
    def schema(self) -> pa.Schema:
        """`clip_id` and the tier's columns."""

    @property
    def whole_clip(self) -> bool:
        """Whether it looks beyond the first frame, so that rate and window change its numbers."""

    @property
    def untrained(self) -> bool:
        """Whether its numbers come from random weights."""

    def identity(self) -> dict[str, Any]:
        """All that changes its numbers; its hash is the tier's fingerprint."""

    def setup(self, device: torch.device) -> None:
        """Loads weights and moves them to `device`."""

    def measure(self, windows: Sequence[Window]) -> list[Measured]:
        """The columns of each window."""


def fingerprint_of(tier: Tier, decode: DecodeConfig) -> str:
    """The hash of all that changes a tier's numbers."""
    return fingerprint(tier.identity(), decode if tier.whole_clip else {"size": decode.size}, {"decoding": DECODING})


def clip_values(measured: Iterable[Measured]) -> dict[str, np.ndarray]:
    """The weighted mean over a clip's windows, column by column; 0 where no window has weight."""
    totals: dict[str, np.ndarray] = {}
    weights: dict[str, float] = {}
    for window in measured:
        for column, part in window.items():
            totals[column] = totals.get(column, 0.0) + part.weight * np.asarray(part.value, dtype=np.float64)
            weights[column] = weights.get(column, 0.0) + part.weight
    return {column: total / weights[column] if weights[column] else total for column, total in totals.items()}


def check_finite(values: Mapping[str, np.ndarray], tier: str) -> None:
    """Raises FeatureError where a column is not finite: a row of NaN would poison every model that reads it."""
    bad = [column for column, value in values.items() if not np.isfinite(value).all()]
    if bad:
        raise FeatureError(f"tier {tier}: {', '.join(bad)} not finite; in untrained or damaged weights values overflow")
