"""What a scorer says of itself: what its bundle was trained on, and whether its intervals are calibrated."""

from __future__ import annotations

import numpy as np

from m3ray.scoring.bundle import Bundle
from m3ray.scoring.open_bundle import AnyBundle
from m3ray.scoring.pretrained_bundle import NOT_CALIBRATED, SEES


def describe_origin(bundle: AnyBundle) -> str:
    """Say what a bundle was trained on.

    Args:
        bundle: The bundle.
    Returns:
        Part of a sentence.
    """
    if not isinstance(bundle, Bundle):
        facts = bundle.facts
        predicts = "" if facts.predicts == "score" else f"predicts {facts.predicts}, "
        return f"{predicts}trained elsewhere on {facts.trained_on}; sees {SEES}; {facts.licence}"
    clips = (bundle.metadata.trained_on or {}).get("train_clips")
    on = "training clips unknown" if clips is None else f"trained on {int(clips):,} clips"
    target = "" if bundle.metadata.units.name == "score" else f", predicts {bundle.metadata.units.name}"
    return f"{on}{target}{', features from UNTRAINED weights' if bundle.untrained else ''}"


def describe_calibration(bundle: AnyBundle) -> str:
    """Say whether a bundle's intervals are calibrated, and on what.

    Args:
        bundle: The bundle.
    Returns:
        Part of a sentence.
    """
    if not isinstance(bundle, Bundle):
        return NOT_CALIBRATED
    count = len(bundle.residuals)
    if not np.isfinite(bundle.rule.high).all():
        return f"intervals undefined: {count} clips to calibrate them on, 9 are the fewest"
    return f"90 % intervals calibrated on {bundle.metadata.calibrated_on or 'val'} ({count:,} clips)"
