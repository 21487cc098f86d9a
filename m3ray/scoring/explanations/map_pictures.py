"""Small pictures of a clip at a few times with its map laid over them, as a page shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from m3ray.scoring.explanations.overlay import blend, choose_pictures, rasterise_heat, read_scale

if TYPE_CHECKING:
    from m3ray.scoring.explanations import Explanation

LONGEST_SIDE = 240
_WEBP = (cv2.IMWRITE_WEBP_QUALITY, 72)


@dataclass(frozen=True)
class MapPictures:
    """Pictures of one clip's map.

    Args:
        times: When each is, seconds.
        pictures: WebP, the longer side of 240 pixels.
        scale: Effect, for each hundredth of the clip, that has the strongest colour.
    """

    times: tuple[float, ...]
    pictures: tuple[bytes, ...]
    scale: float


def draw_pictures(explanation: Explanation) -> MapPictures:
    """Draw a clip's map over a few of its frames, the one of its largest effect among them.

    Args:
        explanation: The map.
    Returns:
        The pictures, by time.
    """
    scale, kept = read_scale(explanation), explanation.pictures
    chosen = choose_pictures(explanation)
    drawn = []
    for k in chosen:
        frame = _shrink(kept.frames[k])
        heat = rasterise_heat(explanation, int(kept.positions[k]), frame.shape[:2])
        drawn.append(_encode(blend(frame, heat, scale)))
    times = [0.0 if explanation.is_image else float(kept.positions[k] / explanation.rate) for k in chosen]
    return MapPictures(tuple(times), tuple(drawn), scale)


def _shrink(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def _encode(picture: np.ndarray) -> bytes:
    encoded, data = cv2.imencode(".webp", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), _WEBP)
    return data.tobytes() if encoded else b""
