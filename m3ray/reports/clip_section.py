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
    columns = [name for name in root.read_schema(PREDICTIONS).names if name not in ("times", "curve")]
    frame = root.read_table(PREDICTIONS, columns=columns).to_pandas()
    frame = frame.assign(split=_read_splits(root, scored, frame)).sort_values("score", ascending=False, kind="stable")
    ends = choose_ends(frame)
    page.clips_note = describe_choice(frame["split"], ends["split"])
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


def _read_splits(root: Root, scored: Root | None, frame: pd.DataFrame) -> pd.Series:
    """Split of each clip: as the predictions have it, or, in older ones, the root's own catalogue; else null."""
    if "split" in frame:
        return frame["split"]
    if scored is None or scored.uri != root.uri:
        return pd.Series(None, index=frame.index, dtype=object)
    catalogue = read_catalogue(root, ["clip_id", "split"]).to_pandas()
    return frame["clip_id"].map(dict(zip(catalogue["clip_id"], catalogue["split"], strict=True)))


def choose_ends(frame: pd.DataFrame) -> pd.DataFrame:
    """Choose the clips at both ends of the scores, of those that the model did not train on.

    Args:
        frame: Clips by falling score, with the column `split`.
    Returns:
        At most eight of each end, by falling score; train clips only where there are not enough others.
    """
    is_train = frame["split"] == "train"
    unseen, train = frame[~is_train], frame[is_train]
    ends = _cut_ends(unseen, 2 * _CLIPS_PER_END)
    chosen = pd.concat([ends, _cut_ends(train, 2 * _CLIPS_PER_END - len(ends))])
    return chosen.sort_values("score", ascending=False, kind="stable")


def _cut_ends(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    """The first and the last rows, `count` in all."""
    if len(frame) <= count:
        return frame
    return pd.concat([frame.iloc[: -(-count // 2)], frame.iloc[len(frame) - count // 2 :]])


def describe_choice(splits: pd.Series, shown: pd.Series) -> str:
    """Say how many clips the shown ones were chosen from, and of which splits.

    Args:
        splits: Split of each clip with a score; null where it is in none.
        shown: Split of each clip that is shown.
    Returns:
        One sentence or two.
    """
    counts = splits.fillna("new").value_counts()
    unseen = {name: int(counts[name]) for name in ("val", "test", "new") if name in counts}
    train = int((shown == "train").sum())
    text = f"Chosen among the {sum(unseen.values()):,} clips that the model did not train on"
    text += f" ({', '.join(f'{count:,} {name}' for name, count in unseen.items())})." if unseen else "."
    if train:
        text += f" They are too few: {train} of the {len(shown)} shown are training clips, and marked as such."
    return text


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
        "mark": "training clip" if row["split"] == "train" else "",
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
