"""The most and the least memorable clips, with a frame, score and the share of each tier."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.errors import ConfigError, DamagedFileError
from m3ray.reports.page_content import Page
from m3ray.reports.thumbnails import as_data_uri, first_frames
from m3ray.schema import CATALOGUE_FILE
from m3ray.storage.root import Root
from m3ray.storage.root_record import read_record

NAME = "predictions.parquet"
_EACH = 8
# Where predict.py keeps the clips that it scored: a folder for each data set.
_ROOM = re.compile(r"predict(-[0-9a-f]+)?")


def add_clips(root: Root, page: Page) -> None:
    """Puts the clips at both ends of the predictions on the page, or says how to get some."""
    if not root.exists(NAME):
        page.missing.append("No predictions: fit a bundle (jobs/train.py), then run jobs/predict.py.")
        return
    room = scored_room(root)
    columns = [name for name in root.read_table(NAME).column_names if name not in ("times", "curve")]
    frame = root.read_table(NAME, columns=columns).to_pandas().sort_values("score", ascending=False, kind="stable")
    ends = pd.concat([frame.head(_EACH), frame.tail(_EACH)]).drop_duplicates("clip_id")
    pictures = first_frames(uris_of(room, ends["clip_id"].tolist()))
    if room is not None and room.uri != root.uri and (source := _source(room)):
        page.facts["Clips with scores below"] = f"{len(frame):,}, of {source}"
    shares = [name for name in frame.columns if name.startswith("share_")]
    widest = max((abs(ends[name]).max() for name in shares), default=0.0)
    cards = [_card(row, shares, float(widest), pictures) for row in ends.to_dict("records")]
    most = cards[: min(_EACH, -(-len(cards) // 2))]
    page.clips = [
        {"title": title, "clips": group}
        for title, group in (("Most memorable", most), ("Least memorable", cards[len(most) :][::-1]))
        if group
    ]


def _source(room: Root) -> str:
    """The data set of a room in words; empty where its record cannot be read: a caption costs no report."""
    with suppress(ConfigError, DamagedFileError):
        record = read_record(room)
        return "" if record is None else record.words()
    return ""


def scored_room(root: Root) -> Root | None:
    """The root or the folder below it whose catalogue names the clips of the predictions; None: it is not known.

    Older versions did not note it: then it is the only one that has all of them.
    """
    rooms = {"": root, **{name: root.below(name) for name in root.names() if _ROOM.fullmatch(name)}}
    rooms = {name: room for name, room in rooms.items() if room.exists(CATALOGUE_FILE)}
    made = root.metadata(NAME)
    noted = made.get("catalogue", "" if made.get("job") == "reproduce" else None)
    if noted is not None:
        return rooms.get(noted)
    clips = root.read_table(NAME, columns=["clip_id"])["clip_id"]
    fitting = [room for room in rooms.values() if _names_all(room, clips)]
    return fitting[0] if len(fitting) == 1 else None


def _names_all(room: Root, clips: pa.ChunkedArray) -> bool:
    ids = room.read_table(CATALOGUE_FILE, columns=["clip_id"])["clip_id"]
    return bool(pc.all(pc.is_in(clips, value_set=ids.cast(clips.type))).as_py())


def uris_of(room: Root | None, clips: list[str]) -> dict[str, str]:
    """Where the videos of clips lie; empty where it is not known which catalogue names them."""
    if room is None:
        return {}
    table = room.read_table(CATALOGUE_FILE, columns=["clip_id", "uri"])
    rows = table.filter(pc.is_in(table["clip_id"], value_set=pa.array(clips, table["clip_id"].type)))
    return dict(zip(rows["clip_id"].to_pylist(), rows["uri"].to_pylist(), strict=True))


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
