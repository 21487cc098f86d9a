"""What stands around the pictures of an overlay: title, colour bar and times, drawn once and copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from m3ray.scoring.explanations.explanation import Explanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito 2008: red and blue that stay apart under the common colour-vision deficiencies.
ADDS, TAKES = (213, 94, 0), (0, 114, 178)
STRONGEST = 0.7
"""Opacity of the largest effect."""
_DPI = 100
_LEFT, _TOP, _FOOT, _BAR, _GAP = 14, 58, 50, 130, 10  # pixels around pictures
_NARROWEST = 330  # of what stands above and below, pixels
_CURSOR, _PALE = (51, 51, 51), (225, 225, 225)


@dataclass(frozen=True)
class Canvas:
    """A drawn frame around a picture.

    Args:
        pixels: RGB, uint8, (H, W, 3).
        corner: row and column of the picture's upper left corner.
        line: row, first column and width of the line of time; None: there is no time.
    """

    pixels: np.ndarray
    corner: tuple[int, int]
    line: tuple[int, int, int] | None

    def place(self, picture: np.ndarray, share: float) -> np.ndarray:
        """Put a picture into the frame.

        Args:
            picture: RGB, uint8, (h, w, 3).
            share: how much of the clip has passed, 0 to 1.
        Returns:
            RGB, uint8, (H, W, 3).
        """
        shown, (row, column) = self.pixels.copy(), self.corner
        shown[row : row + picture.shape[0], column : column + picture.shape[1]] = picture
        if self.line is not None:
            y, x, width = self.line
            shown[y : y + 4, x : x + max(2, round(share * width))] = _CURSOR
        return shown


def draw_canvas(explanation: Explanation, shape: tuple[int, ...], scale: float) -> Canvas:
    """Draw what stands around one picture.

    Args:
        explanation: the map.
        shape: height and width of the picture, pixels.
        scale: effect that has the strongest colour.
    Returns:
        The canvas.
    """
    height, width = shape
    total = (_TOP + height + (_FOOT if not explanation.is_image else _LEFT), _LEFT + max(width, _NARROWEST) + _BAR)
    figure = _open_figure(total)
    _write_title(figure, explanation, total)
    _draw_bar(figure, explanation, (_TOP, height), total, scale)
    line = None if explanation.is_image else (_TOP + height + 12, _LEFT, width)
    if line is not None:
        _write_times(figure, explanation, line, total)
    pixels = _read_pixels(figure)
    if line is not None:
        pixels[line[0] : line[0] + 4, line[1] : line[1] + line[2]] = _PALE
    return Canvas(pixels, (_TOP, _LEFT), line)


def draw_strip(
    explanation: Explanation, pictures: Sequence[np.ndarray], times: Sequence[float], scale: float
) -> np.ndarray:
    """Draw pictures at a few times side by side.

    Args:
        explanation: the map.
        pictures: RGB, uint8, (h, w, 3) each.
        times: their times, seconds.
        scale: effect that has the strongest colour.
    Returns:
        RGB, uint8, (H, W, 3).
    """
    height, width = pictures[0].shape[:2]
    whole = max(len(pictures) * (width + _GAP), _NARROWEST)
    total = (_TOP + height + 30, _LEFT + whole + _BAR)
    figure = _open_figure(total)
    _write_title(figure, explanation, total)
    _draw_bar(figure, explanation, (_TOP, height), total, scale)
    corners = [(_TOP, _LEFT + k * (width + _GAP)) for k in range(len(pictures))]
    for (row, column), time in zip(corners, times, strict=True):
        _write(figure, (row + height + 18, column), f"{time:.1f} s", total)
    pixels = _read_pixels(figure)
    for (row, column), picture in zip(corners, pictures, strict=True):
        pixels[row : row + height, column : column + width] = picture
    return pixels


def _open_figure(total: tuple[int, int]) -> Figure:
    # Imported with the first overlay: maps alone need no matplotlib.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(total[1] / _DPI, total[0] / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _read_pixels(figure: Figure) -> np.ndarray:
    canvas: Any = figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _write(figure: Figure, place: tuple[int, int], text: str, total: tuple[int, int], **style: Any) -> None:
    """Write a line of text whose baseline begins at a row and a column."""
    figure.text(place[1] / total[1], 1 - place[0] / total[0], text.replace("$", r"\$"), **{"size": 9, **style})


def _write_title(figure: Figure, explanation: Explanation, total: tuple[int, int]) -> None:
    room = max(12, (total[1] - 2 * _LEFT) // 8)
    name = "".join(c if c.isprintable() else " " for c in explanation.clip_id)
    name = name if len(name) <= room else f"…{name[1 - room :]}"
    _write(figure, (20, _LEFT), name, total, weight="bold", size=10)
    said = f"{explanation.bundle}: {explanation.unit} {explanation.score:.3f}"
    _write(figure, (42, _LEFT), said, total, color="#333333")


def _write_times(figure: Figure, explanation: Explanation, line: tuple[int, int, int], total: tuple[int, int]) -> None:
    row, column, width = line
    _write(figure, (row + 24, column), "0 s", total)
    _write(figure, (row + 24, column + width), f"{explanation.duration:.1f} s", total, ha="right")


def _draw_bar(
    figure: Figure, explanation: Explanation, rows: tuple[int, int], total: tuple[int, int], scale: float
) -> None:
    """The scale of colours beside the pictures, with numbers and what they are."""
    top, height = rows
    box = ((total[1] - _BAR + 22) / total[1], 1 - (top + height) / total[0], 14 / total[1], height / total[0])
    axes: Axes = figure.add_axes(box)
    values = np.linspace(1, -1, 201)[:, None]
    colours = np.where(values > 0, np.array([ADDS]), np.array([TAKES]))[:, None] / 255
    opacity = STRONGEST * np.abs(values)[..., None]
    axes.imshow(1 + opacity * (colours - 1), extent=(0, 1, -1, 1), aspect="auto")
    axes.yaxis.tick_right()
    axes.set_xticks([])
    ticks = (-1.0, -0.5, 0.0, 0.5, 1.0) if scale else (0.0,)
    axes.set_yticks(ticks, [f"{tick * scale:+.2g}" if tick else "0" for tick in ticks], size=8)
    what = "image" if explanation.is_image else "clip"
    axes.set_ylabel(f"{explanation.unit} per 1 % of the {what}", size=8)
    axes.yaxis.set_label_position("right")
