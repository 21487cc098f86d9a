"""What stands beside a file of scores and belongs to it: maps of clips, their nearest training clips, their shots."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.errors import BundleError, DamagedFileError
from m3ray.scoring.bundle_metadata import BUNDLE_FILE, read_manifest
from m3ray.scoring.explanations.explained_files import read_explained, read_origin
from m3ray.storage.beside_predictions import EXPLANATIONS, NEIGHBOURS, SHOTS, place_beside
from m3ray.storage.root import Root

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BesideScores:
    """What is known of some clips beyond their scores.

    Args:
        maps: clip id to its row, as `EXPLAINED` has it, with pictures.
        neighbours: clip id to its nearest training clips, a row a neighbour.
        shots: clip id to its shots, a row a shot, in order.
        asked: ids of the clips with a map, or the reason why there is none, that are not among those asked for here.
        untrained: whether the maps were made with a network of random weights.
        known: the lowest and the highest true score of the training clips; None where that is not known.
        folder: folder of the maps below the root.
    """

    maps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    neighbours: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    shots: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    asked: Sequence[str] = ()
    untrained: bool = False
    known: tuple[float, float] | None = None
    folder: str = EXPLANATIONS

    def has_any(self, clip: str) -> bool:
        """Tell whether anything is known of a clip.

        Args:
            clip: its id.
        """
        return clip in self.maps or clip in self.neighbours or clip in self.shots


def list_explained(root: Root, predictions: Sequence[str]) -> list[str]:
    """List the clips that have a map, or a reason why there is none.

    Args:
        root: root that the report is about.
        predictions: path parts of the file of scores.
    Returns:
        Their ids; empty where the maps are of other scores.
    """
    folder = root.subroot(*place_beside(predictions, EXPLANATIONS))
    try:
        made, origin = root.read_metadata(*predictions), read_origin(folder)
        # Of which bundle a map is, each row says itself.
        if not _belong_together(made, {**origin, "source": made.get("source")}):
            return []
        rows = read_explained(folder).select(["clip_id", "source"]).to_pylist()
        return [str(row["clip_id"]) for row in rows if row["source"] == made.get("source")]
    except (DamagedFileError, KeyError, pa.ArrowInvalid) as error:
        logger.warning(f"report: maps are left out: {error}")
        return []


def read_beside(root: Root, predictions: Sequence[str], clips: Sequence[str]) -> BesideScores:
    """Read what is known of some clips beyond their scores.

    Args:
        root: root that the report is about.
        predictions: path parts of the file of scores.
        clips: ids of the clips.
    Returns:
        What is known; of files by another bundle, or of another data set, nothing.
    """
    folder = root.subroot(*place_beside(predictions, EXPLANATIONS))
    explained = list_explained(root, predictions)
    mapped = sorted(set(explained) & set(clips))
    rows = read_explained(folder, mapped, pictures=True).to_pylist() if mapped else []
    return BesideScores(
        maps={row["clip_id"]: row for row in rows},
        neighbours=_read_groups(root, predictions, NEIGHBOURS, clips, ["space", "rank"]),
        shots=_read_groups(root, predictions, SHOTS, clips, ["start"]),
        asked=[clip for clip in explained if clip not in set(clips)],
        untrained=bool(mapped) and bool(read_origin(folder).get("untrained")),
        known=_read_known_scores(root, str(root.read_metadata(*predictions).get("bundle", ""))),
        folder="/".join(place_beside(predictions, EXPLANATIONS)),
    )


def _read_known_scores(root: Root, bundle: str) -> tuple[float, float] | None:
    """The ends of the true scores that a bundle of this root was trained on; None: it is not here, or an older one."""
    if not bundle or not root.exists("models", bundle, BUNDLE_FILE):
        return None
    try:
        trained = read_manifest(root.subroot("models", bundle)).metadata.trained_on or {}
    except (BundleError, DamagedFileError):
        return None
    low, high = trained.get("lowest_score"), trained.get("highest_score")
    return None if low is None or high is None else (float(low), float(high))


def _read_groups(
    root: Root, predictions: Sequence[str], name: str, clips: Sequence[str], order: list[str]
) -> dict[str, pd.DataFrame]:
    """The rows of a table of these clips, clip by clip."""
    path = place_beside(predictions, name)
    if not root.exists(*path):
        return {}
    try:
        if not _belong_together(root.read_metadata(*predictions), root.read_metadata(*path)):
            return {}
        table = root.read_table(*path)
        rows = table.filter(pc.is_in(table["clip_id"], value_set=pa.array(clips, table["clip_id"].type)))
        frame = rows.to_pandas()
        return {str(clip): group for clip, group in frame.sort_values(order, kind="stable").groupby("clip_id")}
    except (DamagedFileError, KeyError, pa.ArrowInvalid) as error:
        logger.warning(f"report: {root.display(*path)} is left out: {error}")
        return {}


def _belong_together(scores: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two files were made by one bundle, of one data set's clips; of older ones, both, the name says so."""
    return all(scores.get(name) == other.get(name) for name in ("bundle", "catalogue", "source"))
