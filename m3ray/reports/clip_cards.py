"""Cards of clips on the page: first frame, score, the share of each tier, and below it why the score is what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.reports.beside_scores import read_beside
from m3ray.reports.scores_section import interval_text
from m3ray.reports.sparks import make_spark
from m3ray.reports.thumbnails import as_data_uri, read_first_frames
from m3ray.reports.why_block import list_pictured, make_why
from m3ray.storage.catalogue_file import has_catalogue, read_catalogue
from m3ray.storage.root import Root

CURVES = ("times", "curve")
_SMALL = 136  # width of a training clip's first frame, pixels


class CardMaker:
    """Makes the cards of some clips of one file of scores.

    Args:
        root: root that the report is about.
        predictions: path parts of the file of scores.
        scored: root whose catalogue names the clips; None if that is not known.
        frame: the clips that get a card: `clip_id`, `score`, `split` and the file's other columns.
    """

    def __init__(self, root: Root, predictions: Sequence[str], scored: Root | None, frame: pd.DataFrame) -> None:
        clips = frame["clip_id"].tolist()
        self.frame = frame
        self.shares = [str(name) for name in frame.columns if str(name).startswith("share_")]
        self.widest = float(max((abs(frame[name]).max() for name in self.shares), default=0.0))
        self.curves = read_sparks(root, predictions, frame["clip_id"])
        self.beside = read_beside(root, predictions, clips)
        self.pictures = read_first_frames(read_uris(scored, clips))
        trained_on = root if has_catalogue(root) else None
        pictured = list_pictured(self.beside, clips)
        self.near = read_first_frames(read_uris(trained_on, pictured), width=_SMALL) if pictured else {}

    def make_cards(self) -> list[dict[str, Any]]:
        """Make the cards, in the order of the clips."""
        return [self._make_card(row) for row in self.frame.to_dict("records")]

    def _make_card(self, row: Mapping[Any, Any]) -> dict[str, Any]:
        clip: str = row["clip_id"]
        picture: np.ndarray | None = self.pictures.get(clip)
        return {
            "id": clip,
            "mark": "training clip" if row["split"] == "train" else "",
            "picture": None if picture is None else as_data_uri(picture),
            "score": "no score" if pd.isna(row["score"]) else f"{row['score']:.3f}",
            "interval": interval_text(row),
            "spark": self.curves.get(clip),
            "why": make_why(row, self.beside, self.near),
            "shares": [self._make_share(name, row[name]) for name in self.shares if not pd.isna(row[name])],
        }

    def _make_share(self, name: str, value: float) -> dict[str, Any]:
        return {
            "tier": name.removeprefix("share_"),
            "text": f"{value:+.3f}",
            "width": round(50 * abs(value) / self.widest) if self.widest else 0,
            "side": "plus" if value >= 0 else "minus",
        }


def read_sparks(root: Root, predictions: Sequence[str], clips: pd.Series) -> dict[str, dict[str, str]]:
    """Read the small curve of each of some clips that has scores over time.

    Args:
        root: root that the report is about.
        predictions: path parts of the file of scores.
        clips: ids of the clips.
    Returns:
        Clip id to its curve, as `make_spark` makes it.
    """
    if not set(CURVES) <= set(root.read_schema(*predictions).names):
        return {}
    table = root.read_table(*predictions, columns=["clip_id", *CURVES])
    rows = table.filter(pc.is_in(table["clip_id"], value_set=pa.array(clips, table["clip_id"].type))).to_pylist()
    sparks = {row["clip_id"]: make_spark(row["times"], row["curve"]) for row in rows}
    return {name: spark for name, spark in sparks.items() if spark is not None}


def read_uris(scored: Root | None, clips: list[str]) -> dict[str, str]:
    """Read where the videos of some clips lie.

    Args:
        scored: root whose catalogue names the clips; None if that is not known.
        clips: ids of the clips.
    Returns:
        Clip id to the URI of its video; empty where `scored` is None.
    """
    if scored is None:
        return {}
    table = read_catalogue(scored, ["clip_id", "uri"])
    rows = table.filter(pc.is_in(table["clip_id"], value_set=pa.array(clips, table["clip_id"].type)))
    return dict(zip(rows["clip_id"].to_pylist(), rows["uri"].to_pylist(), strict=True))
