"""A clip's map on the page: pictures at a few times, what the colours stand for, and in words what matters."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any


def make_map_block(row: Mapping[str, Any], clip: str, *, untrained: bool) -> dict[str, Any]:
    """Make what the page shows of a clip's map.

    Args:
        row: the clip's row, as `EXPLAINED` has it.
        clip: name of the clip.
        untrained: whether a network of random weights had part in it.
    Returns:
        `reason`, why there is no map, empty where there is one; `pictures`, each `source`, `alt` and `time`; `legend`,
        `low`, `zero` and `high` with `unit`; `adds` and `takes`, each part `where` and its `effect`; `resolution`, a
        line; `overlay`, name of the picture that moves, or empty; `untrained`.
    """
    if row.get("reason"):
        return {"reason": str(row["reason"]), "untrained": False}
    times, pictures = row.get("picture_times") or [], row.get("pictures") or []
    is_image = len(times) == 1 and not row.get("peak_t")
    return {
        "reason": "",
        "pictures": [
            _make_picture(picture, time, clip, is_image=is_image)
            for time, picture in zip(times, pictures, strict=False)
            if picture
        ],
        "legend": make_legend(float(row.get("scale") or 0.0), "image" if is_image else "clip"),
        "adds": _list_parts(row.get("adds")),
        "takes": _list_parts(row.get("takes")),
        "resolution": row.get("resolution") or describe_grid(row),
        "overlay": "" if is_image else str(row.get("overlay") or ""),
        "untrained": untrained,
    }


def _make_picture(picture: bytes, time: float, clip: str, *, is_image: bool) -> dict[str, str]:
    when = "" if is_image else f" at {time:.1f} s"
    return {
        "source": "data:image/webp;base64," + base64.b64encode(picture).decode(),
        "alt": f"Map of {clip}{when}",
        "time": "" if is_image else f"{time:.1f} s",
    }


def make_legend(scale: float, what: str) -> dict[str, str]:
    """Make the numbers of the colours.

    Args:
        scale: effect for each hundredth of the clip that has the strongest colour.
        what: `clip` or `image`.
    Returns:
        `low`, `zero`, `high`, and `unit` that says what they are.
    """
    return {
        "low": f"{-scale:+.2g}" if scale else "",
        "zero": "0",
        "high": f"{scale:+.2g}" if scale else "",
        "unit": f"effect on the score for each 1 % of the {what}",
    }


def describe_grid(row: Mapping[str, Any]) -> str:
    """Say how finely was looked, where the row has no words for it.

    Args:
        row: the clip's row, as `EXPLAINED` has it.
    Returns:
        A line.
    """
    return (
        f"{row['method']}: {row['rows']} x {row['columns']} parts x {row['segments']} times; "
        f"{row['evaluations']} versions scored"
    )


def _list_parts(lines: Sequence[str] | None) -> list[dict[str, str]]:
    """Place and effect of each part, apart."""
    parts = [str(line).rpartition(": ") for line in lines or ()]
    return [{"where": where, "effect": effect} for where, _, effect in parts]
