"""Why a clip has its score, on the page: its map, what it is compared to, its shots, and a warning where one is due."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from m3ray.reports.beside_scores import BesideScores
from m3ray.reports.map_block import make_map_block
from m3ray.reports.neighbour_block import choose_pictured, describe_inside, describe_warning, make_neighbour_block
from m3ray.reports.shot_timeline import make_timeline


def make_why(row: Mapping[Any, Any], beside: BesideScores, frames: Mapping[str, np.ndarray]) -> dict[str, Any] | None:
    """Make what the page shows below a clip's score.

    Args:
        row: the clip's scores: `clip_id`, `score` and perhaps `inside`, the share of train clips that lie farther out.
        beside: what stands beside the scores.
        frames: training clip to its first frame, where that can be read.
    Returns:
        `warning` and `inside`, sentences or empty; `map`, `neighbours` and `shots`, each None where there is none;
        None where nothing is known.
    """
    clip, inside = str(row["clip_id"]), row.get("inside")
    warning, sentence = describe_warning(inside, row.get("score"), beside.known), describe_inside(inside)
    if not beside.has_any(clip) and not sentence and not warning:
        return None
    found_map, near, shots = (found.get(clip) for found in (beside.maps, beside.neighbours, beside.shots))
    return {
        "warning": warning,
        "inside": sentence,
        "map": None if found_map is None else _make_map(found_map, clip, beside),
        "neighbours": None if near is None else make_neighbour_block(near, frames),
        "shots": None if shots is None else make_timeline(shots, clip),
    }


def _make_map(row: Mapping[str, Any], clip: str, beside: BesideScores) -> dict[str, Any]:
    block = make_map_block(row, clip, untrained=beside.untrained)
    return block | {"overlay": f"{beside.folder}/overlays/{block['overlay']}" if block.get("overlay") else ""}


def list_pictured(beside: BesideScores, clips: Iterable[str]) -> list[str]:
    """List the training clips whose first frames the page shows.

    Args:
        beside: what stands beside the scores.
        clips: ids of the clips that are shown.
    Returns:
        Ids of training clips, each once.
    """
    near = (beside.neighbours[clip] for clip in clips if clip in beside.neighbours)
    return list(dict.fromkeys(name for rows in near for name in choose_pictured(rows)))
