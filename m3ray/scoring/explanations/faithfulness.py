"""How far a map can be trusted: whether it points where the effect is, and what its order of parts does to the score.

The pointing game is that of Zhang et al. 2016 (Top-down neural attention by excitation backprop), insertion and
deletion are those of Petsiuk et al. 2018 (RISE), over space and time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from m3ray.errors import ShapeError

# From clips, each uint8, (T, H, W, 3), to their scores, (N,).
ScoreClips = Callable[[Sequence[np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class Curve:
    """Scores of a clip as more and more of it is shown, or hidden.

    Args:
        shares: Share of the clip that is shown (insertion) or hidden (deletion), from 0 to 1, (S + 1,).
        scores: The score at each, (S + 1,).
    """

    shares: np.ndarray
    scores: np.ndarray

    @property
    def area(self) -> float:
        """Area under the curve: the mean score over shares. High is good of insertion, low of deletion."""
        return float(np.trapezoid(self.scores, self.shares))


def find_peak(effects: np.ndarray, sign: float = 1.0) -> tuple[int, int, int]:
    """Find where a map is highest.

    Args:
        effects: Effect of each pixel of each frame, (T, H, W).
        sign: 1: where the effect is largest; -1: where it is lowest.
    Returns:
        Frame, row and column in the middle of the highest part: of its pixels the one nearest to their mean place, so
        that a part of one height has one peak.
    Raises:
        ShapeError: If it is no such map.
    """
    values = sign * _check_map(effects)
    places = np.argwhere(values == values.max())
    middle = places.mean(axis=0)
    nearest = places[np.argmin(((places - middle) ** 2).sum(axis=1))]
    return int(nearest[0]), int(nearest[1]), int(nearest[2])


def is_hit(effects: np.ndarray, region: np.ndarray, sign: float = 1.0) -> bool:
    """Tell whether a map points into a region: one round of the pointing game.

    Args:
        effects: Effect of each pixel of each frame, (T, H, W).
        region: Which pixels are in the region, bool, (T, H, W).
        sign: As in `find_peak`.
    Returns:
        Whether its peak lies in the region, in space and in time.
    Raises:
        ShapeError: If the two have other shapes.
    """
    _check_same_shape(effects, region)
    return bool(region[find_peak(effects, sign)])


def measure_share_inside(effects: np.ndarray, region: np.ndarray, sign: float = 1.0) -> float:
    """Measure the share of the effects of one sign that lies in a region (Wang et al. 2020, Score-CAM).

    Args:
        effects: Effect of each pixel of each frame, (T, H, W).
        region: Which pixels are in the region, bool, (T, H, W).
        sign: Sign of the effects that count.
    Returns:
        The share, in [0, 1]; 0 where no effect has this sign.
    Raises:
        ShapeError: If the two have other shapes.
    """
    _check_same_shape(effects, region)
    values = np.maximum(sign * _check_map(effects), 0)
    whole = values.sum()
    return float(values[region].sum() / whole) if whole > 0 else 0.0


def measure_curve(
    score: ScoreClips,
    frames: np.ndarray,
    fill: np.ndarray,
    effects: np.ndarray,
    kind: Literal["insertion", "deletion"],
    steps: int = 16,
) -> Curve:
    """Show or hide a clip's pixels in the order of a map, highest effect first.

    Args:
        score: Function that scores clips.
        frames: The clip, RGB, uint8, (T, H, W, 3).
        fill: What stands where it is hidden, the clip blurred say, of the same shape.
        effects: Effect of each pixel of each frame, (T, H, W); equal ones come in the order of time, rows, columns.
        kind: `insertion`: from all hidden to all shown; `deletion`: from all shown to all hidden.
        steps: Number S of equal steps.
    Returns:
        The curve.
    Raises:
        ShapeError: If the shapes do not fit.
    """
    if frames.shape != fill.shape or frames.shape[:3] != effects.shape:
        got = f"frames {frames.shape}, fill {fill.shape}, effects {effects.shape}"
        raise ShapeError(f"{got}: expected (T, H, W, 3), the same, and (T, H, W)")
    order = np.argsort(-_check_map(effects), axis=None, kind="stable")
    below, above = (fill, frames) if kind == "insertion" else (frames, fill)
    ends = np.rint(np.linspace(0, len(order), steps + 1)).astype(int)
    clips = [_replace(below, above, order[:end]) for end in ends]
    return Curve(ends / len(order), np.asarray(score(clips), np.float64))


def _replace(below: np.ndarray, above: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The pixels of one clip, and at some places those of another."""
    clip = below.copy()
    clip.reshape(-1, 3)[places] = above.reshape(-1, 3)[places]
    return clip


def _check_map(effects: np.ndarray) -> np.ndarray:
    if effects.ndim != 3 or not effects.size:
        raise ShapeError(f"effects {effects.shape}: expected a number for each pixel of each frame, (T, H, W)")
    if not np.isfinite(effects).all():
        raise ShapeError(f"{int((~np.isfinite(effects)).sum())} of {effects.size} effects are not finite")
    return effects.astype(np.float64)


def _check_same_shape(effects: np.ndarray, region: np.ndarray) -> None:
    if effects.shape != region.shape:
        raise ShapeError(f"effects {effects.shape}, region {region.shape}: expected the same (T, H, W)")
