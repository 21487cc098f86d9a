"""Near duplicates on the page: their groups, those on two sides of the split first, with two first frames each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from m3ray.datasets.duplicates import DUPLICATES_FILE, find_sides, read_duplicates
from m3ray.reports.page_content import Page
from m3ray.reports.thumbnails import as_data_uri, read_first_frames
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root

MOST_GROUPS = 12
"""Groups of the table: the file has them all."""
_MOST_PICTURED = 6  # each has two first frames to read, which the page waits for


def add_duplicates(root: Root, page: Page) -> None:
    """Put the near duplicates of the catalogue on the page; nothing where there are none.

    Args:
        root: root that the report is about.
        page: page to fill.
    """
    duplicates = read_duplicates(root)
    if not duplicates.num_rows:
        return
    clips = read_catalogue(root, ["clip_id", "uri", "split", "score"])
    sides, inside = find_sides(duplicates, clips), pc.is_in(clips["clip_id"], value_set=duplicates["clip_id"])
    frame = duplicates.to_pandas().merge(clips.filter(inside).to_pandas(), on="clip_id")
    groups = choose_pairs(frame)
    shown = groups[:MOST_GROUPS]
    ends = [end for group in shown[:_MOST_PICTURED] for end in group["clips"]]
    pictures = read_first_frames({end["clip_id"]: end["uri"] for end in ends})
    threshold = root.read_metadata(*DUPLICATES_FILE).get("threshold")
    page.duplicates = {
        "note": (
            f"{sides.clips:,} clips in {sides.groups:,} groups show all but the same: equal bytes or pictures "
            f"(content), or features whose cosine is at least {threshold} (vectors). "
            f"{_describe_divided(sides.divided)} Of each group two clips are shown, one of each side where it has two."
        ),
        "rows": [_make_row(group, pictures) for group in shown],
        "left": len(groups) - len(shown),
        "file": root.display(*DUPLICATES_FILE),
    }


def _describe_divided(divided: int) -> str:
    if not divided:
        return "Each group stands on one side of the split."
    verb = "stands" if divided == 1 else "stand"
    return (
        f"{divided:,} of them {verb} on two sides of the split (--group duplicates draws splits that keep them apart)."
    )


def choose_pairs(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Choose two clips of each group to show.

    Args:
        frame: `clip_id, group, kind, similarity, nearest` and `split` of the clips that have near duplicates.
    Returns:
        `count`, `divided` and two `clips` of each group, as dictionaries of their columns; groups on two sides first,
        each with a train clip and one of another split, then the larger ones.
    """
    groups = []
    for _, rows in frame.groupby("group", sort=True):
        ordered = rows.sort_values(["similarity", "clip_id"], ascending=[False, True], kind="stable")
        first = ordered[ordered["split"] == "train"].head(1) if ordered["split"].nunique() > 1 else ordered.head(1)
        first = first if len(first) else ordered.head(1)
        one = first.iloc[0]
        others = ordered[ordered["clip_id"] != one["clip_id"]]
        apart = others[others["split"] != one["split"]]
        others = apart if len(apart) else others
        nearest = others[(others["clip_id"] == one["nearest"]) | (others["nearest"] == one["clip_id"])]
        if len(others):
            other = (nearest if len(nearest) else others).iloc[0]
            clips = [one.to_dict(), other.to_dict()]
            groups.append({"count": len(rows), "divided": bool(ordered["split"].nunique() > 1), "clips": clips})
    return sorted(groups, key=lambda group: (not group["divided"], -group["count"]))


def _make_row(group: Mapping[str, Any], pictures: Mapping[str, np.ndarray]) -> dict[str, Any]:
    clips = [
        {
            "id": clip["clip_id"],
            "split": clip["split"],
            "score": "" if pd.isna(clip["score"]) else f"{clip['score']:.3f}",
            "picture": as_data_uri(pictures[clip["clip_id"]]) if clip["clip_id"] in pictures else "",
        }
        for clip in group["clips"]
    ]
    kinds = {clip["kind"] for clip in group["clips"]}
    lowest = min(clip["similarity"] for clip in group["clips"])
    return {
        "clips": clips,
        "count": group["count"],
        "sides": "two" if group["divided"] else "one",
        "kind": "content" if kinds == {"content"} else "vectors",
        "similarity": f"{lowest:.3f}",
    }
