"""The most and the least memorable clips, with a frame, score and the share of each tier."""

from __future__ import annotations

from typing import Any

import pandas as pd

from m3ray.data.catalogue import NAME as CATALOGUE
from m3ray.data.store import Root
from m3ray.reports.content import Page
from m3ray.reports.thumbnails import as_data_uri, first_frames

NAME = "predictions.parquet"
_EACH = 8
# Where predict.py keeps the catalogue of the clips that it scored.
_ROOMS: tuple[tuple[str, ...], ...] = ((CATALOGUE,), ("predict", CATALOGUE))


def add_clips(root: Root, page: Page) -> None:
    """Puts the clips at both ends of the predictions on the page, or says how to get some."""
    if not root.exists(NAME):
        page.missing.append("No predictions: fit a bundle (jobs/train.py), then run jobs/predict.py.")
        return
    columns = [name for name in root.read_table(NAME).column_names if name not in ("times", "curve")]
    frame = root.read_table(NAME, columns=columns).to_pandas().sort_values("score", ascending=False, kind="stable")
    ends = pd.concat([frame.head(_EACH), frame.tail(_EACH)]).drop_duplicates("clip_id")
    pictures = first_frames(uris_of(root, ends["clip_id"].tolist()))
    shares = [name for name in frame.columns if name.startswith("share_")]
    widest = max((abs(ends[name]).max() for name in shares), default=0.0)
    cards = [_card(row, shares, float(widest), pictures) for row in ends.to_dict("records")]
    most = cards[: min(_EACH, -(-len(cards) // 2))]
    page.clips = [
        {"title": title, "clips": group}
        for title, group in (("Most memorable", most), ("Least memorable", cards[len(most) :][::-1]))
        if group
    ]


def uris_of(root: Root, clips: list[str]) -> dict[str, str]:
    """Where the videos of clips lie, those that were scored anew among them."""
    found: dict[str, str] = {}
    for place in _ROOMS:
        if root.exists(*place):
            known = root.read_table(*place, columns=["clip_id", "uri"]).to_pandas()
            rows = known[known["clip_id"].isin(clips)]
            found.update(zip(rows["clip_id"], rows["uri"], strict=True))
    return found


def _card(row: dict[Any, Any], shares: list[str], widest: float, pictures: dict[str, Any]) -> dict[str, Any]:
    frame = pictures.get(row["clip_id"])
    return {
        "id": row["clip_id"],
        "picture": None if frame is None else as_data_uri(frame),
        "score": f"{row['score']:.3f}",
        "interval": f"{row['low']:.2f} to {row['high']:.2f}",
        "shares": [
            {
                "tier": name.removeprefix("share_"),
                "text": f"{row[name]:+.3f}",
                "width": round(50 * abs(row[name]) / widest) if widest else 0,
                "side": "plus" if row[name] >= 0 else "minus",
            }
            for name in shares
        ],
    }
