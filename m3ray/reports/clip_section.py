"""The most and the least memorable clips on the page: first frame, score, and the share of each tier."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.errors import ConfigError, DamagedFileError
from m3ray.reports.page_content import Page
from m3ray.reports.thumbnails import as_data_uri, read_first_frames
from m3ray.storage.catalogue_file import has_catalogue, read_catalogue
from m3ray.storage.root import Root
from m3ray.storage.root_record import read_record

PREDICTIONS = "predictions.parquet"
_CLIPS_PER_END = 8
# predict.py keeps the catalogue of the clips that it scored in a folder of its own for each data set.
_SCORING_FOLDER = re.compile(r"predict(-[0-9a-f]+)?")


def add_clips(root: Root, page: Page) -> None:
    """Put the clips at both ends of the predictions on the page, or how to get predictions.

    Args:
        root: root that the report is about.
        page: page to fill.
    """
    if not root.exists(PREDICTIONS):
        page.missing.append("No predictions: fit a bundle (jobs/train.py), then run jobs/predict.py.")
        return
    scored = find_scored_root(root)
    columns = [name for name in root.read_table(PREDICTIONS).column_names if name not in ("times", "curve")]
    frame = root.read_table(PREDICTIONS, columns=columns).to_pandas()
    frame = frame.sort_values("score", ascending=False, kind="stable")
    ends = pd.concat([frame.head(_CLIPS_PER_END), frame.tail(_CLIPS_PER_END)]).drop_duplicates("clip_id")
    pictures = read_first_frames(read_uris(scored, ends["clip_id"].tolist()))
    if scored is not None and scored.uri != root.uri and (source := _describe_source(scored)):
        page.details["Clips with scores below"] = f"{len(frame):,}, of {source}"
    shares = [name for name in frame.columns if name.startswith("share_")]
    widest = max((abs(ends[name]).max() for name in shares), default=0.0)
    cards = [_make_card(row, shares, float(widest), pictures) for row in ends.to_dict("records")]
    most = cards[: min(_CLIPS_PER_END, -(-len(cards) // 2))]
    page.clips = [
        {"title": title, "clips": group}
        for title, group in (("Most memorable", most), ("Least memorable", cards[len(most) :][::-1]))
        if group
    ]


def _describe_source(scored: Root) -> str:
    """Name a root's data set; empty if its record cannot be read, since a missing caption must not end a report."""
    with suppress(ConfigError, DamagedFileError):
        record = read_record(scored)
        return "" if record is None else record.describe()
    return ""


def find_scored_root(root: Root) -> Root | None:
    """Find the folder whose catalogue names the clips of `predictions.parquet`.

    Predictions of older versions do not record it: then it is the only folder whose catalogue has all of them.

    Args:
        root: root that holds the predictions.
    Returns:
        The root itself or a folder below it; None if it is not known, or its catalogue is gone.
    """
    subfolders = [name for name in root.list_names() if _SCORING_FOLDER.fullmatch(name)]
    folders = {"": root, **{name: root.subroot(name) for name in subfolders}}
    folders = {name: folder for name, folder in folders.items() if has_catalogue(folder)}
    metadata = root.read_metadata(PREDICTIONS)
    recorded = metadata.get("catalogue", "" if metadata.get("job") == "reproduce" else None)
    if recorded is not None:
        return folders.get(recorded)
    clips = root.read_table(PREDICTIONS, columns=["clip_id"])["clip_id"]
    matches = [folder for folder in folders.values() if _has_all_clips(folder, clips)]
    return matches[0] if len(matches) == 1 else None


def _has_all_clips(folder: Root, clips: pa.ChunkedArray) -> bool:
    ids = read_catalogue(folder, ["clip_id"])["clip_id"]
    return bool(pc.all(pc.is_in(clips, value_set=ids.cast(clips.type))).as_py())


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


def _make_card(row: dict[Any, Any], shares: list[str], widest: float, pictures: dict[str, Any]) -> dict[str, Any]:
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
