"""What a clip is compared to, on the page: its nearest training clips with true scores, and how far out it lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from m3ray.reports.thumbnails import as_data_uri
from m3ray.scoring.reference.neighbours import OUTSIDE
from m3ray.scoring.reference.train_reference import MODEL_SPACE

MOST_SHOWN = 3
"""Training clips of each space on the page."""


def choose_pictured(rows: pd.DataFrame) -> list[str]:
    """Choose the training clips whose first frames are shown: the nearest by the model, else by the first tier.

    Args:
        rows: a clip's neighbours: `space`, `rank`, `neighbour`, `true_score`.
    Returns:
        Ids, the nearest first.
    """
    spaces = list(dict.fromkeys(rows["space"]))
    space = MODEL_SPACE if MODEL_SPACE in spaces else next(iter(spaces), "")
    return [str(name) for name in rows[rows["space"] == space].sort_values("rank")["neighbour"].head(MOST_SHOWN)]


def make_neighbour_block(rows: pd.DataFrame, frames: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Make what the page shows of a clip's nearest training clips.

    Args:
        rows: a clip's neighbours: `space`, `rank`, `neighbour`, `true_score`.
        frames: training clip to its first frame, where that can be read.
    Returns:
        `pictured`, each `id`, `score` and `picture` (empty: it cannot be read); `by`, what they are nearest by;
        `others`, a line for each other space.
    """
    pictured = choose_pictured(rows)
    spaces = [str(space) for space in dict.fromkeys(rows["space"])]
    shown = MODEL_SPACE if MODEL_SPACE in spaces else spaces[0]
    scores = dict(zip(rows["neighbour"], rows["true_score"], strict=True))
    return {
        "by": name_space(shown),
        "pictured": [
            {
                "id": name,
                "score": _number(scores[name]),
                "picture": as_data_uri(frames[name]) if name in frames else "",
            }
            for name in pictured
        ],
        "others": [_describe_space(space, rows[rows["space"] == space]) for space in spaces if space != shown],
    }


def name_space(space: str) -> str:
    """Name what clips are compared by.

    Args:
        space: name of a tier, or `model`.
    Returns:
        The name in words.
    """
    return "the model's last hidden layer" if space == MODEL_SPACE else space


def _describe_space(space: str, rows: pd.DataFrame) -> dict[str, str]:
    nearest = rows.sort_values("rank").head(MOST_SHOWN)
    names = (f"{row.neighbour} ({_number(row.true_score)})" for row in nearest.itertuples())
    return {"by": name_space(space), "names": ", ".join(names)}


def _number(score: Any) -> str:
    return "no score" if pd.isna(score) else f"{score:.3f}"


def describe_inside(inside: Any) -> str:
    """Say how far inside the training data a clip lies.

    Args:
        inside: share of train clips that lie farther from their own nearest others than the clip from its nearest.
    Returns:
        A sentence; empty where it is not known.
    """
    if inside is None or pd.isna(inside):
        return ""
    if inside <= 0:
        return "It lies farther from the training clips than every one of them from its own nearest others."
    share = f"{100 * inside:.0f} %" if inside >= 0.01 else f"{100 * inside:.1g} %"
    return f"{share} of the training clips lie farther from their nearest others than it does from its."


def describe_warning(inside: Any, score: float | None = None, known: tuple[float, float] | None = None) -> str:
    """Say that a score is an extrapolation.

    Args:
        inside: as for `describe_inside`.
        score: the score.
        known: the lowest and the highest true score of the training clips; None: unknown.
    Returns:
        A sentence; empty where it is none, as far as is known.
    """
    if inside is not None and not pd.isna(inside) and inside < OUTSIDE:
        return "This score is an extrapolation: nothing that the model was trained on is like this clip."
    if score is not None and known is not None and not known[0] <= score <= known[1]:
        return (
            "This score is an extrapolation: the training clips' true scores range from "
            f"{known[0]:.3f} to {known[1]:.3f}."
        )
    return ""
