"""How a part of a clip is hidden: behind a blurred version of the frames, with soft edges."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from m3ray.scoring.explanations.parts import Part

BLUR_SIDE = 32
"""Height and width of the blurred frames as they are kept: they have no more detail than that."""
_SIGMA = 4.0  # of the blur, in pixels of these: an eighth of the frame, which leaves no shape to recognise
_SOFT = 0.2  # half of a soft edge, as a share of the part
_SOFTEST = 0.05  # and of the frame
_SOFT_FRAMES = 3.0
_JITTER = 0.15  # how far borders move at most, as a share of the part


def blur_frames(frames: np.ndarray) -> np.ndarray:
    """Blur frames until no shape is left.

    Args:
        frames: RGB, uint8, (T, H, W, 3).
    Returns:
        uint8, (T, 32, 32, 3).
    """
    small = [cv2.resize(frame, (BLUR_SIDE, BLUR_SIDE), interpolation=cv2.INTER_AREA) for frame in frames]
    return np.stack([cv2.GaussianBlur(frame, (0, 0), _SIGMA, borderType=cv2.BORDER_REFLECT) for frame in small])


def enlarge(blurred: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bring blurred frames to the size of others.

    Args:
        blurred: what `blur_frames` gave.
        height: rows wanted.
        width: columns wanted.
    Returns:
        uint8, (T, height, width, 3).
    """
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC) for frame in blurred])


@dataclass(frozen=True)
class Cover:
    """What hides a part: how much of each frame, row and column is covered.

    The weight of a pixel is the product of the three, 1 within the part, 0 outside, half at its borders.

    Args:
        start: first frame that is covered.
        in_time: weight of each frame from there on, (T,).
        in_rows: weight of each row, (H,).
        in_columns: weight of each column, (W,).
    """

    start: int
    in_time: np.ndarray
    in_rows: np.ndarray
    in_columns: np.ndarray

    @property
    def stop(self) -> int:
        """End of the frames that are covered."""
        return self.start + len(self.in_time)

    def hide(self, frames: np.ndarray, blurred: np.ndarray, first: int) -> np.ndarray:
        """Hide the part in some frames.

        Args:
            frames: RGB, uint8, (T, H, W, 3).
            blurred: what stands in their place, (T, 32, 32, 3).
            first: position of the first of them in the clip.
        Returns:
            The changed frames, uint8, (T, H, W, 3).
        """
        changed = frames.copy()
        rows, columns = (np.flatnonzero(weights) for weights in (self.in_rows, self.in_columns))
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        weights = self.in_rows[box[0], None, None] * self.in_columns[None, box[1], None]
        for k in range(max(0, self.start - first), min(len(frames), self.stop - first)):
            in_time = self.in_time[first + k - self.start]
            fill = cv2.resize(blurred[k], frames.shape[2:0:-1], interpolation=cv2.INTER_CUBIC)[box].astype(np.float32)
            shown = frames[k][box].astype(np.float32)
            changed[k][box] = np.rint(shown + in_time * weights * (fill - shown)).astype(np.uint8)
        return changed


def cover_part(part: Part, shape: tuple[int, int, int], seed: int, seeds: int, *, every_frame: bool) -> Cover:
    """Lay the cover of a part.

    Args:
        part: the part.
        shape: frames, height and width of the clip.
        seed: which of the covers of this part, from 0; each has its borders a little elsewhere.
        seeds: how many there are; two and two move to opposite sides, so that they agree with the part on the mean.
        every_frame: whether each frame of the clip is looked at: then borders in time are soft and move too.
    Returns:
        The cover.
    """
    frames, height, width = shape
    rows = _weigh(part.top, part.bottom, height, (seed, seeds, 1), _SOFTEST)
    columns = _weigh(part.left, part.right, width, (seed, seeds, 2), _SOFTEST)
    if not every_frame:
        return Cover(part.start, np.ones(part.stop - part.start, np.float32), rows, columns)
    in_time = _weigh(part.start / frames, part.stop / frames, frames, (seed, seeds, 0), _SOFT_FRAMES / frames)
    inside = np.flatnonzero(in_time > 0)
    return Cover(int(inside[0]), in_time[inside[0] : inside[-1] + 1], rows, columns)


def _weigh(low: float, high: float, count: int, seed: tuple[int, int, int], softest: float) -> np.ndarray:
    """Weights of `count` places between 0 and 1 for an interval: 1 inside, falling to 0 around its borders."""
    size = high - low
    soft = max(min(_SOFT * size, softest), 1e-6)
    places = (np.arange(count) + 0.5) / count
    rise, fall = np.ones(count), np.zeros(count)
    if low > 0:  # the clip's own borders are none
        rise = _smooth((places - _move(low, size, seed) + soft) / (2 * soft))
    if high < 1:
        fall = _smooth((places - _move(high, size, seed) + soft) / (2 * soft))
    weights = (rise - fall).astype(np.float32)
    if not (weights > 0).any():  # narrower than a place
        weights[min(int(low * count), count - 1)] = 1.0
    return weights


def _move(border: float, size: float, seed: tuple[int, int, int]) -> float:
    """A border moved a little: the same border of parts of one size alike, so that neighbours stay neighbours."""
    number, count, axis = seed
    if number == count - 1 and count % 2 == 1:
        return border
    draw = np.random.default_rng([number // 2, axis, round(border * (1 << 20))]).uniform(-1, 1)
    return border + (-1.0) ** number * _JITTER * size * float(draw)


def _smooth(x: np.ndarray) -> np.ndarray:
    """3 x^2 - 2 x^3 between 0 and 1."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
