"""Parts of a clip: boxes in the frame for a stretch of its frames, and how they are cut into smaller ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from m3ray.config.explain_options import ExplainConfig
from m3ray.errors import ConfigError

SMALLEST = 1 / 16
"""Height and width, as shares of the frame's, below which a part is not cut: 16 pixels of 256."""
_REPEATED = 4  # one version of so many is kept for hiding parts again
_WINDOW = 128  # frames of a segment beyond which the first parts are whole frames: a film is first searched in time


@dataclass(frozen=True)
class Part:
    """A box in the frame, from one sampled frame to another.

    Args:
        start: first frame.
        stop: end of the frames.
        top: upper edge, a share of the frame's height.
        bottom: lower edge.
        left: left edge, a share of the frame's width.
        right: right edge.
        level: how often a part was cut to make it.
    """

    start: int
    stop: int
    top: float = 0.0
    bottom: float = 1.0
    left: float = 0.0
    right: float = 1.0
    level: int = 0

    @property
    def area(self) -> float:
        """Share of the frame."""
        return (self.bottom - self.top) * (self.right - self.left)


@dataclass(frozen=True)
class Grid:
    """The parts that a map begins with: segments of time, each cut into rows and columns.

    Args:
        borders: frames at which segments begin, and the clip's end, (segments + 1,).
        rows: rows of a frame.
        columns: columns of a frame.
    """

    borders: tuple[int, ...]
    rows: int
    columns: int

    @property
    def segments(self) -> int:
        """Number of segments."""
        return len(self.borders) - 1

    def lay_parts(self, seen: np.ndarray) -> list[Part]:
        """Lay the grid over a clip.

        Args:
            seen: frames that some tier looks at, ascending, (n,).
        Returns:
            Parts that together are the clip; a segment of which nothing is seen is one part.
        """
        parts: list[Part] = []
        for start, stop in itertools.pairwise(self.borders):
            whole = Part(start, stop)
            parts += cut_space(whole, self.rows, self.columns) if count_seen(whole, seen) else [whole]
        return [replace(part, level=0) for part in parts]


def count_repeats(config: ExplainConfig) -> int:
    """Count the versions of the budget that are kept for hiding parts again, with their borders elsewhere.

    Args:
        config: budget and seeds.
    """
    return config.budget // _REPEATED if config.seeds > 1 else 0


def choose_grid(config: ExplainConfig, frames: int, seen: np.ndarray) -> Grid:
    """Choose the parts to begin with, so that half of the budget is left for cutting those that matter.

    Args:
        config: budget, seeds, and the finest grid to begin with.
        frames: sampled frames of the clip.
        seen: frames that some tier looks at, ascending, (n,).
    Returns:
        The grid: segments that each have something to see, of a long clip with whole frames.
    Raises:
        ConfigError: If a setting makes no sense.
    """
    check_config(config)
    versions = config.budget - count_repeats(config)
    segments = max(1, min(config.segments, len(seen), versions))
    side = config.grid
    if len(seen) / segments > _WINDOW:
        segments, side = max(segments, min(math.ceil(len(seen) / _WINDOW), versions // 2)), 1
    while side > 1 and segments * side * side > max(1, versions // 2):
        side -= 1
    return Grid(_lay_borders(frames, seen, segments), side, side)


def choose_fine_grid(config: ExplainConfig, frames: int, seen: np.ndarray) -> Grid:
    """Choose the parts of a map by gradients, which know each pixel: as fine as parts get, and finer in time.

    Args:
        config: segments of time.
        frames: sampled frames of the clip.
        seen: frames that some tier looks at, ascending, (n,).
    Returns:
        The grid.
    """
    side = round(1 / SMALLEST)
    return Grid(_lay_borders(frames, seen, max(1, min(4 * config.segments, len(seen)))), side, side)


def check_config(config: ExplainConfig) -> None:
    """Check settings of maps.

    Args:
        config: the settings.
    Raises:
        ConfigError: If one is below 1.
    """
    for name in ("budget", "grid", "segments", "seeds"):
        if getattr(config, name) < 1:
            raise ConfigError(f"{name} {getattr(config, name)} of a map: expected 1 or more")


def _lay_borders(frames: int, seen: np.ndarray, segments: int) -> tuple[int, ...]:
    """Borders in the middle between groups of seen frames; after a lone first frame the rest is one segment."""
    if len(seen) == 1 and seen[0] == 0 and frames > 1:
        return (0, 1, frames)
    if len(seen) == frames:
        return tuple(np.linspace(0, frames, segments + 1).round().astype(int).tolist())
    groups = np.array_split(seen, segments)
    middles = [math.ceil((int(a[-1]) + int(b[0])) / 2) for a, b in itertools.pairwise(groups)]
    return (0, *middles, frames)


def count_seen(part: Part, seen: np.ndarray) -> int:
    """Count the frames of a part that some tier looks at.

    Args:
        part: the part.
        seen: frames that some tier looks at, ascending, (n,).
    """
    first, end = np.searchsorted(seen, [part.start, part.stop])
    return int(end - first)


def cut_part(part: Part, seen: np.ndarray) -> list[Part]:
    """Cut a part into four in space or into two in time, whichever it is larger in.

    Args:
        part: the part.
        seen: frames that some tier looks at, ascending, (n,).
    Returns:
        The smaller parts; none where it is as small as parts get.
    """
    count = count_seen(part, seen)
    side = max(part.bottom - part.top, part.right - part.left)
    in_space, in_time = side / 2 >= SMALLEST, count > 1
    if in_time and (not in_space or count / len(seen) > side):
        return cut_time(part, seen)
    return cut_space(part, 2, 2) if in_space and count else []


def cut_time(part: Part, seen: np.ndarray) -> list[Part]:
    """Cut a part into two with as many seen frames each.

    Args:
        part: a part of two or more seen frames.
        seen: frames that some tier looks at, ascending, (n,).
    """
    own = seen[np.searchsorted(seen, part.start) : np.searchsorted(seen, part.stop)]
    half = len(own) // 2
    middle = math.ceil((int(own[half - 1]) + int(own[half])) / 2)
    level = part.level + 1
    return [replace(part, stop=middle, level=level), replace(part, start=middle, level=level)]


def cut_space(part: Part, rows: int, columns: int) -> list[Part]:
    """Cut a part into rows and columns of one size.

    Args:
        part: the part.
        rows: number of rows.
        columns: number of columns.
    """
    edges_y = np.linspace(part.top, part.bottom, rows + 1).tolist()
    edges_x = np.linspace(part.left, part.right, columns + 1).tolist()
    return [
        replace(part, top=top, bottom=bottom, left=left, right=right, level=part.level + 1)
        for top, bottom in _pairs(edges_y)
        for left, right in _pairs(edges_x)
    ]


def _pairs(edges: Sequence[float]) -> list[tuple[float, float]]:
    return list(itertools.pairwise(edges))
