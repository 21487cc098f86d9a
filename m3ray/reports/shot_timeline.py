"""A clip's shots on the page: a timeline whose parts one can point at or reach by keyboard, and the same as text."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

MOST_PARTS = 96
"""Parts of a timeline: more are too narrow to be pointed at, so shots are then taken together."""
MOST_NAMED = 5
MOST_ROWS = 60
"""Shots of the table: of more, the most and the least memorable ones."""
_LOWEST = 12  # height of the lowest score's bar, hundredths


def make_timeline(rows: pd.DataFrame, clip: str) -> dict[str, Any] | None:
    """Make what the page shows of a clip's shots.

    Args:
        rows: the shots, in order: `start`, `end` (seconds), `score`, and perhaps `shot`.
        clip: name of the clip.
    Returns:
        `single`, a sentence where there is one shot, else empty, and then `name`, of the timeline; `parts`, each
        `name`, `width` (seconds), `height` (hundredths) and `mark` (`best`, `worst` or empty); `scale`, the scores of
        the lowest and the highest part; `end`, of the last shot; `best` and `worst`, lines; `rows` of the table, each
        texts; `note`, what is left out; None where no shot has a score.
    """
    shots = rows[rows["score"].notna() & rows["start"].notna()].reset_index(drop=True)
    if shots.empty:
        return None
    shots = shots.assign(number=np.arange(1, len(shots) + 1))
    if len(shots) == 1:
        return {"single": f"One shot, no cut: {_describe_span(shots.iloc[0])}, score {shots['score'][0]:.3f}."}
    by_score = shots.sort_values("score", ascending=False, kind="stable")
    named = min(MOST_NAMED, len(shots) // 2)
    best, worst = by_score.head(named), by_score.tail(named).iloc[::-1]
    parts = _join_shots(shots)
    listed = shots if len(shots) <= MOST_ROWS else pd.concat([best, worst]).sort_values("number")
    return {
        "single": "",
        "name": f"Shots of {clip}",
        "parts": _make_parts(parts, len(shots)),
        "scale": f"{parts['score'].min():.3f} to {parts['score'].max():.3f}",
        "end": _format_time(float(shots["end"].max())),
        "best": [_describe_shot(row) for row in best.head(3).to_dict("records")],
        "worst": [_describe_shot(row) for row in worst.head(3).to_dict("records")],
        "rows": [_make_cells(row) for row in listed.to_dict("records")],
        "note": _describe_left(len(shots), len(parts), len(listed)),
    }


def _join_shots(shots: pd.DataFrame) -> pd.DataFrame:
    """The shots, or, of many, neighbouring ones taken together: their mean by length, and their numbers."""
    frame = shots.assign(first=shots["number"], last=shots["number"], most=shots["score"])
    if len(shots) <= MOST_PARTS:
        return frame
    edges = np.linspace(0, len(shots), MOST_PARTS + 1).round().astype(int)
    return pd.DataFrame([_join(shots.iloc[a:b]) for a, b in itertools.pairwise(edges)])


def _join(group: pd.DataFrame) -> dict[str, float]:
    lengths = (group["end"] - group["start"]).to_numpy(float)
    weights = lengths if lengths.sum() > 0 else np.ones(len(group))
    return {
        "first": group["number"].iloc[0],
        "last": group["number"].iloc[-1],
        "start": group["start"].iloc[0],
        "end": group["end"].iloc[-1],
        "score": float(np.average(group["score"], weights=weights)),
        "most": float(group["score"].max()),
    }


def _make_parts(parts: pd.DataFrame, shots: int) -> list[dict[str, Any]]:
    scores = parts["score"].to_numpy(float)
    low, swing = scores.min(), np.ptp(scores) or 1.0
    heights = _LOWEST + (100 - _LOWEST) * (scores - low) / swing
    marks = [""] * len(parts)
    marks[int(scores.argmin())], marks[int(scores.argmax())] = "worst", "best"
    return [
        {
            "name": _name_part(row, shots),
            "width": f"{max(float(row['end'] - row['start']), 0.01):.2f}",
            "height": round(float(height)),
            "mark": mark,
        }
        for row, height, mark in zip(parts.to_dict("records"), heights, marks, strict=True)
    ]


def _name_part(row: dict[Any, Any], shots: int) -> str:
    """Name of a part for those who hear it, which is also shown as it is pointed at."""
    if row["first"] == row["last"]:
        return f"Shot {row['first']} of {shots}, {_describe_span(row)}, score {row['score']:.3f}"
    return (
        f"Shots {row['first']} to {row['last']} of {shots}, {_describe_span(row)}, mean score {row['score']:.3f}, "
        f"highest {row['most']:.3f}"
    )


def _describe_span(row: Any) -> str:
    return f"{_format_time(float(row['start']))} to {_format_time(float(row['end']))}"


def _format_time(seconds: float) -> str:
    """Seconds below two minutes, else minutes and seconds, as players show them."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _describe_shot(row: dict[Any, Any]) -> str:
    return f"{_describe_span(row)} ({row['score']:.3f})"


def _make_cells(row: dict[Any, Any]) -> list[str]:
    start, end = _format_time(float(row["start"])), _format_time(float(row["end"]))
    return [str(row["number"]), start, end, f"{row['score']:.3f}"]


def _describe_left(shots: int, parts: int, listed: int) -> str:
    notes = []
    if parts < shots:
        notes.append(f"{shots:,} shots: each of the {parts} parts stands for several.")
    if listed < shots:
        notes.append(f"The table has the most and the least memorable {listed} of {shots:,}; the file has them all.")
    return " ".join(notes)
