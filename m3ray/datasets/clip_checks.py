"""Checks of listed clips before they become a catalogue: unique ids, possible splits and scores, no leaks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.datasets.identity import video_keys
from m3ray.errors import SchemaError
from m3ray.schema import SPLITS
from m3ray.storage.columns import MISSING_NUMBERS, parse_number
from m3ray.storage.schemes import check_uris


def check_clips(clips: pa.Table, videos: pa.ChunkedArray | None = None) -> pa.Table:
    """Check that ids are unique, splits and URIs possible, and that no video stands in two splits.

    A job does this once, where its clips are listed: before anything is written or computed.

    Args:
        clips: the catalogue's columns; `split` may be null.
        videos: which video each row is, from `video_keys`; None compares paths.
    Returns:
        The clips, unchanged.
    Raises:
        SchemaError: If a row is impossible or two rows clash; the message names them.
    """
    _check_ids(clips)
    possible = pc.or_kleene(pc.is_null(clips["split"]), pc.is_in(clips["split"], pa.array(SPLITS)))
    if not pc.all(possible).as_py():
        row = _first_row(pc.invert(possible))
        name, split = clips["clip_id"][row].as_py(), clips["split"][row].as_py()
        raise SchemaError(f"row {row + 1} ({name}): split {split!r} is none of {', '.join(SPLITS)}")
    check_leaks(clips, video_keys(clips["uri"]) if videos is None else videos)
    check_uris(clips["uri"])
    return clips


def _check_ids(clips: pa.Table) -> None:
    ids = clips["clip_id"]
    if pc.count_distinct(ids, mode="all").as_py() == len(ids):
        return
    counts = pc.value_counts(ids)
    name = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
    one, two = np.flatnonzero(pc.equal(ids, name).to_numpy())[:2]
    uris, splits = clips["uri"], clips["split"]
    leaks = splits[one].as_py() != splits[two].as_py()
    leak = f" (in {splits[one].as_py()} and in {splits[two].as_py()}: a leak)" if leaks else ""
    raise SchemaError(
        f"clip_id {name!r} stands in row {one + 1} ({uris[one].as_py()}) and in row {two + 1} ({uris[two].as_py()})"
        f"{leak}: ids are unique; rename one or drop a row"
    )


def check_leaks(clips: pa.Table, videos: pa.ChunkedArray) -> None:
    """Check that no video stands in two splits: it would be trained on and then evaluated.

    One video under two ids within one split is the user's to decide.

    Args:
        clips: the catalogue's columns; `split` may be null.
        videos: which video each row is, from `video_keys`.
    Raises:
        SchemaError: If a video has two splits; the message names both rows.
    """
    if pc.count_distinct(clips["split"]).as_py() < 2:
        return
    has_both = pc.and_(pc.is_valid(clips["split"]), pc.is_valid(videos))
    splits = pa.table({"video": videos, "split": clips["split"]}).filter(has_both)
    counts = splits.group_by("video").aggregate([("split", "count_distinct")])
    leaking = counts.filter(pc.greater(counts["split_count_distinct"], 1))["video"]
    if not len(leaking):
        return
    one = _first_row(pc.and_(pc.is_valid(clips["split"]), pc.is_in(videos, leaking)))
    elsewhere = pc.and_(pc.equal(videos, videos[one]), pc.not_equal(clips["split"], clips["split"][one]))
    raise SchemaError(_leak_message(clips, one, _first_row(elsewhere.fill_null(False))))


def _leak_message(clips: pa.Table, one: int, two: int) -> str:
    first, second = (clips.slice(row, 1).to_pylist()[0] for row in (one, two))
    other = "" if first["uri"] == second["uri"] else f", as {second['uri']},"
    return (
        f"{first['uri']} is in {first['split']} (row {one + 1}, {first['clip_id']}) and{other} in {second['split']} "
        f"(row {two + 1}, {second['clip_id']}): a leak; keep it in one split"
    )


def _first_row(mask: pa.ChunkedArray) -> int:
    return int(np.flatnonzero(mask.to_numpy())[0])


def parse_score(value: Any, row: int) -> float | None:
    """Convert a cell to a memorability score.

    Args:
        value: cell of a table: a number, text, or None.
        row: number of its row, from 1, for the message.
    Returns:
        A score in [0, 1]; None for an empty cell, NaN, and the words that stand for them (NA, null, none).
    Raises:
        SchemaError: If the cell is no number, or a number outside [0, 1].
    """
    text = "" if value is None else str(value).strip()
    if text.lower() in MISSING_NUMBERS:
        return None
    score = parse_number(text)
    if score is None:
        hint = "; write it with a point" if text.count(",") == 1 else ""
        raise SchemaError(f"row {row}: score {value!r} is not a number; expected one in [0, 1], or empty{hint}")
    if not 0 <= score <= 1:
        raise SchemaError(f"row {row}: score {score:g} lies outside [0, 1]; divide percentages by 100")
    return score
