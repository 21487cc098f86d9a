"""What a clip of the demo shows, and how likely a viewer is to remember it: the formula that a study is to find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

KINDS = {"stripes": 0.24, "bars": 0.20, "checks": 0.18, "rings": 0.15, "spots": 0.13, "waves": 0.10}
"""Kind of a clip, the pattern that it shows, to the share of clips of that kind."""

BASE = 0.22
STRENGTHS = {"motion": 0.24, "brightness": 0.17, "contrast": 0.24, "oddness": 0.22}
"""Trait to what it adds to the probability: that of a clip with all of it, less that of a clip with none of it."""

NOISE = 0.01
ODD_SHARE = 0.4
LEAST_ODDNESS = 0.4


@dataclass(frozen=True)
class DemoTraits:
    """What a clip shows: four things that viewers remember it by, and others that they do not.

    Args:
        kind: Pattern that fills the picture, of `KINDS`; nobody remembers a clip by it.
        motion: Speed at which the picture drifts, in [0, 1].
        brightness: Mean level of the picture, in [0, 1].
        contrast: Spread of the picture's levels, in [0, 1].
        oddness: How far the background is from grey, in a colour of its own; 0 in most clips, else up to 1.
        odd_angle: Which colour that is, radians.
        colour: Colour of the disc in the opening picture, from red, 0, to blue, 1; nobody remembers a clip by it.
        later_colour: Colour of the disc in all later pictures; nobody remembers a clip by it.
        grain: Fineness and strength of the grain; nobody remembers a clip by it.
        probability: That a viewer recognises it, in [0, 1].
    """

    kind: str
    motion: float
    brightness: float
    contrast: float
    oddness: float
    odd_angle: float
    colour: float
    later_colour: float
    grain: float
    probability: float


def draw_traits(number: int, seed: int) -> tuple[DemoTraits, np.random.Generator]:
    """Draw what a clip shows and how likely a viewer is to recognise it.

    Args:
        number: Number of the clip, from 0.
        seed: Seed of the demo.
    Returns:
        Its traits, and the generator that draws the rest of it.
    """
    rng = np.random.default_rng([seed, number])
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    motion, brightness, contrast, colour, later, grain = (float(value) for value in rng.uniform(size=6))
    is_odd = rng.random() < ODD_SHARE
    oddness = float(rng.uniform(LEAST_ODDNESS, 1)) if is_odd else 0.0
    angle, noise = float(rng.uniform(0, 2 * np.pi)), float(rng.normal(0, NOISE))
    planted = {"motion": motion, "brightness": brightness, "contrast": contrast, "oddness": oddness}
    probability = float(np.clip(remember(planted) + noise, 0, 1))
    traits = DemoTraits(
        kind, **planted, odd_angle=angle, colour=colour, later_colour=later, grain=grain, probability=probability
    )
    return traits, rng


def remember(planted: Mapping[str, float]) -> float:
    """The formula: a base, plus each trait times its strength.

    Args:
        planted: Each trait of `STRENGTHS` to its value.
    Returns:
        The probability before noise.
    """
    return BASE + sum(STRENGTHS[name] * value for name, value in planted.items())
