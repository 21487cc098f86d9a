"""Overlays: a clip with its map in colours above it, as a strip of pictures or as an animation."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from m3ray.errors import ConfigError
from m3ray.scoring.explanations.canvas import ADDS, STRONGEST, TAKES, Canvas, draw_canvas, draw_strip
from m3ray.scoring.explanations.explanation import Explanation
from m3ray.video.animation import encode_animation, encode_png

Format = Literal["png", "webp", "mp4"]
FORMATS: tuple[Format, ...] = ("png", "webp", "mp4")
_STRIP, _STRIP_SIDE = 5, 260  # pictures of a strip, and the longest side of each, pixels
_GREY = 0.6  # how much of the frames' colours is taken out below the map
_LONGEST = 12.0  # seconds that an animation lasts at most: those of longer clips are time lapses


def draw_overlay(explanation: Explanation, kind: Format) -> bytes:
    """Draw the map over the clip.

    Red adds to the score, blue takes from it, and where nothing matters the clip shows through.

    Args:
        explanation: the map.
        kind: png: pictures at a few times, the strongest effect's among them (of one frame that frame); webp or mp4:
            the clip, longer ones as time lapses.
    Returns:
        Bytes of the file.
    Raises:
        ConfigError: If it is another kind, or an animation of one frame.
    """
    if kind not in FORMATS:
        raise ConfigError(f"an overlay as {kind}: expected one of {', '.join(FORMATS)}")
    if kind == "png":
        return encode_png(_draw_still(explanation))
    if explanation.is_image:
        raise ConfigError(f"{explanation.clip_id} is one frame: its overlay is a png")
    frames = draw_frames(explanation)
    shown = min(explanation.duration, _LONGEST)
    return encode_animation(frames, len(frames) / max(shown, 1 / 15), kind)


def draw_frames(explanation: Explanation) -> np.ndarray:
    """Draw each picture of the clip with map, scale and time.

    Args:
        explanation: the map.
    Returns:
        RGB, uint8, (P, H, W, 3).
    """
    scale = read_scale(explanation)
    pictures = explanation.pictures
    canvas: Canvas = draw_canvas(explanation, pictures.frames.shape[1:3], scale)
    maps = (rasterise_heat(explanation, int(k), pictures.frames.shape[1:3]) for k in pictures.positions)
    blended = (blend(frame, heat, scale) for frame, heat in zip(pictures.frames, maps, strict=True))
    last = max(1, explanation.frames - 1)
    return np.stack([canvas.place(shown, int(k) / last) for shown, k in zip(blended, pictures.positions, strict=True)])


def _draw_still(explanation: Explanation) -> np.ndarray:
    if explanation.is_image:
        return draw_frames(explanation)[0]
    scale, pictures, chosen = read_scale(explanation), explanation.pictures, choose_pictures(explanation)
    shape = _shrink(pictures.frames.shape[1:3])
    shown = []
    for k in chosen:
        small = cv2.resize(pictures.frames[k], shape[::-1], interpolation=cv2.INTER_AREA)
        shown.append(blend(small, rasterise_heat(explanation, int(pictures.positions[k]), shape), scale))
    times = [pictures.positions[k] / explanation.rate for k in chosen]
    return draw_strip(explanation, shown, times, scale)


def _shrink(shape: tuple[int, ...]) -> tuple[int, int]:
    share = min(1.0, _STRIP_SIDE / max(shape))
    return max(1, round(shape[0] * share)), max(1, round(shape[1] * share))


def choose_pictures(explanation: Explanation) -> list[int]:
    """Choose the pictures of a strip: evenly spaced, the nearest of them moved to the strongest effect.

    Args:
        explanation: the map.
    Returns:
        Indices of pictures, ascending.
    """
    positions = explanation.pictures.positions
    count = min(_STRIP, len(positions))
    chosen = [int((k + 0.5) * len(positions) / count) for k in range(count)]
    peak = explanation.find_peak().part
    nearest = int(np.argmin(np.abs(positions - (peak.start + peak.stop - 1) / 2)))
    chosen[int(np.argmin(np.abs(np.array(chosen) - nearest)))] = nearest
    return sorted(set(chosen))


def read_scale(explanation: Explanation) -> float:
    """The strongest effect for its size, which has the strongest colour; 0 where nothing has an effect.

    Args:
        explanation: the map.
    """
    return max(abs(explanation.heat(cell)) for cell in explanation.cells)


def rasterise_heat(explanation: Explanation, position: int, shape: tuple[int, ...]) -> np.ndarray:
    """The effect for its size of each pixel of one frame.

    Args:
        explanation: the map.
        position: which of the sampled frames.
        shape: height and width wanted.
    Returns:
        float32, (H, W).
    """
    height, width = shape
    heat = np.zeros((height, width), np.float32)
    for cell in explanation.cells:
        part = cell.part
        if part.start <= position < part.stop:
            rows = slice(round(part.top * height), round(part.bottom * height))
            heat[rows, round(part.left * width) : round(part.right * width)] = explanation.heat(cell)
    return heat


def blend(frame: np.ndarray, heat: np.ndarray, scale: float) -> np.ndarray:
    """Lay the colours of a map over a frame.

    Args:
        frame: RGB, uint8, (H, W, 3).
        heat: effect for its size of each pixel, (H, W).
        scale: effect that has the strongest colour.
    Returns:
        RGB, uint8, (H, W, 3).
    """
    shown = frame.astype(np.float32)
    # Less colourful, so that a red car is not taken for an effect.
    shown += _GREY * (shown @ np.array([0.299, 0.587, 0.114], np.float32)[:, None] - shown)
    colour = np.where((heat > 0)[..., None], np.array(ADDS, np.float32), np.array(TAKES, np.float32))
    opacity = (STRONGEST * np.minimum(np.abs(heat) / (scale or 1.0), 1))[..., None]
    return np.rint(shown + opacity * (colour - shown)).astype(np.uint8)
