"""Clips with a planted patch for benchmarks/explain.py: what it looks like, where and when it is, and what it is worth.

A patch of the sought look, a chequer of magenta and dark green, stands at a drawn place for a drawn time on a moving,
textured background, among patches of other looks, some of which share its colours. What a clip is worth is a function
of how much of it the patch takes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SOUGHT = (225, 40, 205), (35, 110, 45)
DISTRACTORS = (
    ((230, 200, 40), (40, 60, 190)),
    ((50, 210, 215), (60, 60, 60)),
    ((240, 240, 240), (20, 20, 20)),
    ((235, 90, 40), (40, 110, 90)),
    ((60, 200, 70), (35, 110, 45)),
)
HALF = 0.02  # share of a clip at which the patch has half of its effect
BASE, GAIN = 0.25, 0.55


@dataclass(frozen=True)
class Patch:
    """A box in space and time.

    Args:
        start: Its first frame.
        stop: The frame after its last one.
        top: Its first row, pixels.
        left: Its first column, pixels.
        height: Rows, pixels.
        width: Columns, pixels.
    """

    start: int
    stop: int
    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Where it lies in a clip, (T, H, W)."""
        rows, columns = slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)
        return slice(self.start, self.stop), rows, columns

    @property
    def volume(self) -> int:
        """Pixels of all its frames."""
        return (self.stop - self.start) * self.height * self.width


@dataclass(frozen=True)
class PlantedClip:
    """A clip, its patch, and what it is worth.

    Args:
        frames: RGB, uint8, (T, H, W, 3).
        patch: Where the sought look is; None: nowhere.
        score: What it is worth, in [0, 1].
    """

    frames: np.ndarray
    patch: Patch | None
    score: float


def draw_clip(
    seed: int, frames: int, size: int, patch: Patch | None = None, *, planted: bool = True, plain: bool = True
) -> PlantedClip:
    """Draw a clip.

    Args:
        seed: Seed of all that is drawn.
        frames: Frames, T.
        size: Height and width, pixels.
        patch: Where the sought look is; None: drawn.
        planted: Whether it is there at all.
        plain: Whether distractors may be plain patches of the sought look's own colours, which only its pattern tells
            from it.
    Returns:
        The clip; its score is the same function of the patch's share of it for every seed.
    """
    rng = np.random.default_rng([seed, frames, size])
    clip = draw_background(rng, frames, size)
    for _ in range(int(rng.integers(2, 5))):
        _draw_distractor(clip, draw_patch(rng, frames, size), rng, plain=plain)
    drawn = draw_patch(rng, frames, size)
    place = (patch or drawn) if planted else None
    if place is not None:
        clip[place.slices] = draw_chequer(place, SOUGHT, size // 32)
    noise = rng.normal(0, 4, clip.shape)
    return PlantedClip(np.clip(clip + noise, 0, 255).astype(np.uint8), place, score_patch(place, clip.shape))


def score_patch(patch: Patch | None, shape: tuple[int, ...]) -> float:
    """What a clip is worth: BASE + GAIN share / (share + HALF), of the patch's share of all pixels."""
    share = 0.0 if patch is None else patch.volume / float(np.prod(shape[:3]))
    return BASE + GAIN * share / (share + HALF)


def draw_patch(rng: np.random.Generator, frames: int, size: int) -> Patch:
    """Draw a box: a fifth to two fifths of height and width, a quarter to all of the time."""
    height, width = (int(n) for n in rng.integers(size // 5, 2 * size // 5 + 1, 2))
    length = min(frames, int(rng.integers(-(-frames // 4), frames + 1)))
    start = int(rng.integers(0, frames - length + 1))
    top, left = int(rng.integers(0, size - height + 1)), int(rng.integers(0, size - width + 1))
    return Patch(start, start + length, top, left, height, width)


def draw_background(rng: np.random.Generator, frames: int, size: int) -> np.ndarray:
    """Draw texture of two scales in one tint, which drifts: (T, H, W, 3), float."""
    tint = rng.uniform((0.5, 0.7, 0.5), (0.9, 1.0, 0.9))
    speed = rng.uniform(-1.5, 1.5, 2) * size / 64
    margin = int(np.ceil(np.abs(speed).max() * frames)) + 1
    whole = size + 2 * margin
    texture = sum(
        weight * cv2.resize(rng.uniform(0, 1, (cells, cells)), (whole, whole), interpolation=cv2.INTER_CUBIC)
        for cells, weight in ((whole * 5 // size, 0.7), (whole * 20 // size, 0.3))
    )
    picture = 30 + 190 * np.asarray(texture)[..., None] * tint
    offsets = np.rint(margin + np.arange(frames)[:, None] * speed).astype(int)
    return np.stack([picture[y : y + size, x : x + size] for y, x in offsets])


def draw_chequer(patch: Patch, colours: tuple[tuple[int, ...], tuple[int, ...]], cell: int) -> np.ndarray:
    """Draw a still chequer, (t, h, w, 3); cells have `cell` pixels."""
    rows, columns = np.arange(patch.height)[:, None] // cell, np.arange(patch.width) // cell
    picture = np.asarray(colours, float)[(rows + columns) % 2]
    return np.broadcast_to(picture, (patch.stop - patch.start, *picture.shape))


def _draw_distractor(clip: np.ndarray, patch: Patch, rng: np.random.Generator, *, plain: bool) -> None:
    """Draw a chequer of other colours, a plain patch of one of the sought look's, or put a part out of focus."""
    kind = rng.random()
    if kind < 0.3:
        # Filmed pictures have such parts, and a network must have seen some: else it makes up what they are.
        blurred = [cv2.GaussianBlur(frame, (0, 0), clip.shape[1] / 8) for frame in clip[patch.slices]]
        clip[patch.slices] = np.stack(blurred)
    elif plain and kind < 0.6:
        clip[patch.slices] = SOUGHT[int(rng.integers(2))]
    else:
        colours = DISTRACTORS[int(rng.integers(len(DISTRACTORS)))]
        clip[patch.slices] = draw_chequer(patch, colours, int(clip.shape[1]) // 32)
