"""The detectors of cuts by their names."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from m3ray.config import SlidingWindowConfig
from m3ray.errors import ConfigError
from m3ray.video.shots.content import ContentCuts
from m3ray.video.shots.timeline import Timeline
from m3ray.video.shots.transnet import TransNetCuts, find_weights

# The highest threshold that each knows.
_HIGHEST = {"content": 255.0, "transnet": 1.0}


class CutDetector(Protocol):
    """What finds cuts while frames arrive."""

    height: int
    width: int

    def add(self, frames: np.ndarray) -> None:
        """Look at the next frames.

        Args:
            frames: RGB, uint8, (T, height, width, 3).
        """

    def end(self, timeline: Timeline) -> np.ndarray:
        """Say which frames begin a shot.

        Args:
            timeline: when the frames are shown.
        Returns:
            Their indices, (C,), ascending.
        """


def check_detector(config: SlidingWindowConfig) -> None:
    """Check that shots can be found as a request asks for, before work is spent.

    Args:
        config: how a video is cut; windows pass.
    Raises:
        ConfigError: If a package is missing, or the threshold or the shortest length cannot be.
        WeightsError: If the network's weights are other ones than published.
    """
    if config.by != "shots":
        return
    if config.detector not in _HIGHEST:
        raise ConfigError(f"detector {config.detector!r}: expected one of {', '.join(_HIGHEST)}")
    highest = _HIGHEST[config.detector]
    if config.threshold is not None and not 0 < config.threshold < highest:
        raise ConfigError(
            f"threshold {config.threshold:g} of the detector {config.detector}: expected between 0 and {highest:g}"
        )
    if not 0 < config.shortest < math.inf:
        raise ConfigError(f"shortest shot {config.shortest:g} s: expected above 0")
    if config.detector == "transnet":
        find_weights()
    elif find_spec("scenedetect") is None:
        raise ConfigError("PySceneDetect is not installed: pip install scenedetect-headless")


def make_detector(config: SlidingWindowConfig) -> CutDetector:
    """Make the detector of a request, for one video.

    Args:
        config: which detector, and its threshold.
    Returns:
        A detector that has seen nothing.
    Raises:
        ConfigError, WeightsError: As `check_detector`.
    """
    given = {} if config.threshold is None else {"threshold": config.threshold}
    return TransNetCuts(**given) if config.detector == "transnet" else ContentCuts(**given)
