"""Maps in words: where and when a part is, what it adds, and how finely was looked."""

from __future__ import annotations

from collections.abc import Sequence

from m3ray.scoring.explanations.explanation import Cell, Explanation
from m3ray.scoring.explanations.parts import Part

_SHOWN = 3
_SMALLEST = 0.0005  # less is written as 0.000
_WHOLE = 0.6  # height or width beyond which no side is named


def name_place(part: Part) -> str:
    """Name where in the frame a part is.

    Args:
        part: the part.
    Returns:
        `upper left`, `centre`, `whole frame` and the like.
    """
    row = _name_side(part.top, part.bottom, ("upper", "centre", "lower"))
    column = _name_side(part.left, part.right, ("left", "centre", "right"))
    if not row and not column:
        return "whole frame"
    if row == column == "centre":
        return "centre"
    if not column or column == "centre":
        return f"{row} middle" if row and row != "centre" else "centre"
    return column if not row else f"{row} {column}"


def _name_side(low: float, high: float, names: tuple[str, str, str]) -> str:
    if high - low > _WHOLE:
        return ""
    return names[min(2, int(3 * (low + high) / 2))]


def describe_part(explanation: Explanation, part: Part) -> str:
    """Say where and when a part is.

    Args:
        explanation: the map.
        part: one of its parts.
    Returns:
        Place, its box in hundredths of width and height where it is not the whole frame, and seconds.
    """
    words = name_place(part)
    if part.area < 1:
        words += f" (x {_percent(part.left, part.right)}, y {_percent(part.top, part.bottom)})"
    if explanation.is_image:
        return words
    begin, end = explanation.seconds_of(part)
    return f"{words}, {begin:.1f}-{end:.1f} s"


def _percent(low: float, high: float) -> str:
    return f"{100 * low:.0f}-{100 * high:.0f} %"


def describe_effect(cell: Cell) -> str:
    """Write an effect with its doubt.

    Args:
        cell: a part and what it adds.
    Returns:
        Such as `+0.031 ± 0.004`; without the doubt where there is nothing to tell it from.
    """
    return f"{cell.effect:+.3f} ± {cell.doubt:.3f}" if cell.doubt > 0 else f"{cell.effect:+.3f}"


def choose_parts(explanation: Explanation, count: int = _SHOWN) -> tuple[list[Cell], list[Cell]]:
    """Choose the parts that add most and those that take most.

    Args:
        explanation: the map.
        count: how many of each.
    Returns:
        Those that add and those that take, the strongest first, without those whose sign the seeds do not agree on,
        and those whose effect is written as nothing.
    """
    cells = [cell for cell in explanation.sort_cells() if abs(cell.effect) >= _SMALLEST]
    adds = [cell for cell in cells if cell.sure_effect > 0][:count]
    takes = [cell for cell in reversed(cells) if cell.sure_effect < 0][:count]
    return adds, takes


def describe_resolution(explanation: Explanation) -> str:
    """Say how finely was looked, and with how much work.

    Args:
        explanation: the map.
    Returns:
        A line.
    """
    start, finest = (_describe_grid(explanation, grid) for grid in (explanation.start_grid, explanation.finest))
    is_cut = any(cell.part.level for cell in explanation.cells)
    finer = "" if start == finest or not is_cut else f", down to {finest} where it matters"
    sees_all = explanation.seen == explanation.frames
    looked = "" if sees_all else f"; it looks at {explanation.seen} of {explanation.frames} frames"
    count = explanation.evaluations
    work = ("version{} scored" if explanation.method == "occlusion" else "pass{}").format(
        "" if count == 1 else "s" if explanation.method == "occlusion" else "es"
    )
    spent = f"{count} {work} in {explanation.seconds:.1f} s"
    return f"{explanation.method}: {start}{finer}{looked}; {spent}"


def _describe_grid(explanation: Explanation, grid: Sequence[int]) -> str:
    segments, rows, columns = grid
    space = f"{rows} x {columns} parts"
    return space if explanation.is_image else f"{space} x {segments} times"
