"""Options of what is read of a data set, and the types of others: where clips come from, presets, files of tiers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import tyro

from m3ray.config.datasets import Target

Dataset = Literal["demo", "folder", "table", "memento10k", "videomem", "lamem", "memcat", "figrim", "things"]
"""Every source of clips that an extraction takes."""
NewClips = Literal["folder", "table", "memento10k", "videomem", "lamem", "memcat", "figrim", "things"]
"""Every source of clips that are scored."""
Preset = Literal["auto", "paper", "default", "demo", "authors"]
TierFiles = tyro.conf.UseAppendAction[tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """What a study predicts."""

    target: Target | None = None
    """What is predicted: score, or a column of what viewers did, where the data have it: hit_rate, false_alarm_rate,
    corrected (their difference), d_prime, alpha (decay); none: the root's own, else score."""


@dataclass(frozen=True, kw_only=True)
class WeighOptions:
    """What a clip counts in training and in its metrics."""

    weigh: Literal["none", "responses"] = "none"
    """responses: losses and metrics weigh each clip by the number of viewers behind its score, as the variance of a
    share falls with it; none: all clips alike."""
