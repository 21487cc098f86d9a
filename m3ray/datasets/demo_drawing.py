"""The pictures of a demo clip: a pattern with grain that drifts, and a disc whose colour changes after the opening."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from m3ray.datasets.demo_traits import DemoTraits

# Width and height. Of widths that are not whole blocks of 128, x264 does not write the same bytes on every run.
SIZES = ((128, 96), (128, 128), (128, 160), (256, 144))
RATES = (8, 10, 12, 15)
SECONDS = (1.0, 1.5)
_LEVELS, _SPREADS, _SPEEDS = (0.40, 0.64), (0.09, 0.18), (0.01, 0.14)
_DISC, _DISC_COLOUR, _BACKGROUND_COLOUR = 0.25, 0.25, 0.22
_PERIODS = 4.0
_CLOUD = 1.2  # of the pattern's spread: what optical flow follows where a pattern moves along itself
# Colours that leave luma as it is (0.299 R + 0.587 G + 0.114 B = 0), red and blue.
_RED = np.array([1, -0.299 / 0.587, 0])
_BLUE = np.array([0, -0.114 / 0.587, 1])


@dataclass(frozen=True)
class DrawnClip:
    """Pictures of a clip.

    Args:
        frames: RGB, uint8, (T, H, W, 3).
        rate: Frames a second.
    """

    frames: np.ndarray
    rate: int


def draw_clip(traits: DemoTraits, rng: np.random.Generator) -> DrawnClip:
    """Draw a clip.

    Its brightness (mean of the largest channel) and contrast (standard deviation of luma) are those of its traits,
    whatever its kind, its colours and its grain are: what else changes leaves both as they are.

    Args:
        traits: What it shows.
        rng: Generator that draws the rest, as `draw_traits` returns it.
    Returns:
        Its pictures.
    """
    width, height = SIZES[rng.integers(len(SIZES))]
    rate = int(RATES[rng.integers(len(RATES))])
    count = round(rng.uniform(*SECONDS) * rate)
    heading, place = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.7, size=2)
    canvas = _draw_canvas(traits, width, height, rng)
    disc = _draw_disc(width, height, place)
    background = _BACKGROUND_COLOUR * traits.oddness * _mix_colours(np.cos(traits.odd_angle), np.sin(traits.odd_angle))
    step = np.array([np.cos(heading) * width, np.sin(heading) * height]) * _between(_SPEEDS, traits.motion) / rate
    frames = np.empty((count, height, width, 3), np.uint8)
    for index in range(count):
        colour = traits.later_colour if index else traits.colour
        chroma = disc * _DISC_COLOUR * _mix_colours(1 - colour, colour) + (1 - disc) * background
        frames[index] = _paint(traits, _look_at(canvas, step * index, width, height), chroma)
    return DrawnClip(frames, rate)


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * share


def _mix_colours(red: float, blue: float) -> np.ndarray:
    """A colour without luma, as strong as every other; of red and blue all mixtures are as bright."""
    colour = red * _RED + blue * _BLUE
    return colour / np.abs(colour).max()


def _draw_canvas(traits: DemoTraits, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Pattern and grain, three times as wide and high as the picture, which looks at its middle and then drifts."""
    rows, columns = np.mgrid[: 3 * height, : 3 * width]
    pattern = PATTERNS[traits.kind](columns / width - 1.5, rows / height - 1.5)
    grain = cv2.GaussianBlur(rng.standard_normal((3 * height, 3 * width)), (0, 0), 0.6 + 1.6 * (1 - traits.grain))
    cloud = cv2.GaussianBlur(rng.standard_normal((3 * height, 3 * width)), (0, 0), 0.03 * height)
    canvas = _standardise(pattern) + _CLOUD * _standardise(cloud) + (0.05 + 0.25 * traits.grain) * _standardise(grain)
    return canvas.astype(np.float32)


def _look_at(canvas: np.ndarray, shift: np.ndarray, width: int, height: int) -> np.ndarray:
    moved = np.array([[1, 0, shift[0] - width], [0, 1, shift[1] - height]], np.float32)
    return _standardise(cv2.warpAffine(canvas, moved, (width, height), flags=cv2.INTER_LINEAR))


def _standardise(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def _draw_disc(width: int, height: int, place: np.ndarray) -> np.ndarray:
    """Share of the disc in each pixel, (H, W, 1); as wide and high, in shares of the picture, whatever its shape."""
    disc = np.zeros((height, width), np.float32)
    centre, axes = (int(place[0] * width), int(place[1] * height)), (int(_DISC * width), int(_DISC * height))
    cv2.ellipse(disc, centre, axes, 0, 0, 360, 1.0, -1)
    return cv2.GaussianBlur(disc, (0, 0), 1.5)[..., None]


def _paint(traits: DemoTraits, pattern: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """Colour a pattern: luma is lowered by what the colours add to the largest channel."""
    level = _between(_LEVELS, traits.brightness) - chroma.max(axis=-1).mean()
    luma = level + _between(_SPREADS, traits.contrast) * pattern
    return np.clip(255 * (luma[..., None] + chroma) + 0.5, 0, 255).astype(np.uint8)


Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]
_TURN = 2 * np.pi * _PERIODS

PATTERNS: dict[str, Pattern] = {
    "stripes": lambda x, y: np.sin(_TURN * x) + 0 * y,
    "bars": lambda x, y: np.sin(_TURN * y) + 0 * x,
    "checks": lambda x, y: np.sign(np.sin(_TURN * x) * np.sin(_TURN * y)),
    "rings": lambda x, y: np.sin(1.3 * _TURN * np.hypot(x, y)),
    "spots": lambda x, y: np.maximum(0, np.cos(_TURN * x) * np.cos(_TURN * y)),
    "waves": lambda x, y: np.sin(0.7 * _TURN * (x + y) + 2 * np.sin(0.35 * _TURN * (x - y))),
}
"""Kind to its pattern at places in shares of the picture, from its middle."""
