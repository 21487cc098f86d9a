"""The catalogue: the clips of a root, checked, split, and kept. Column by column, so that millions of rows fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.datasets.clip_contents import homes_of, is_content, with_contents
from m3ray.datasets.given_splits import given_splits, keep_absent
from m3ray.datasets.identity import video_keys
from m3ray.datasets.known_contents import keep_older
from m3ray.datasets.splits import split_clips as split_clips
from m3ray.errors import SchemaError, StudyError
from m3ray.schema import CATALOGUE_FILE, LEARNED_KEY, SPLITS, feature_names
from m3ray.storage.columns import NO_NUMBER, number_of
from m3ray.storage.homes import UNKNOWN, Origin
from m3ray.storage.root import Root
from m3ray.storage.schemes import check_uris

# By these a decoded catalogue is known that bears no marks yet.
_OLDER = {"native_fps", "sampled", "video_bytes", "decoder"}


def checked(clips: pa.Table, videos: pa.ChunkedArray | None = None) -> pa.Table:
    """The clips, if every id is unique and every split possible, and no video stands in two splits.

    Args:
        clips: the catalogue's columns; `split` may be null.
        videos: which video each row is, from `video_keys`; None: by path.
    Raises:
        SchemaError: names the rows that clash or the row that is impossible.
    """
    _check_ids(clips)
    known = pc.or_kleene(pc.is_null(clips["split"]), pc.is_in(clips["split"], pa.array(SPLITS)))
    if not pc.all(known).as_py():
        row = _first(pc.invert(known))
        name, split = clips["clip_id"][row].as_py(), clips["split"][row].as_py()
        raise SchemaError(f"row {row + 1} ({name}): split {split!r} is none of {', '.join(SPLITS)}")
    _check_leaks(clips, videos)
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


def _check_leaks(clips: pa.Table, videos: pa.ChunkedArray | None) -> None:
    """One video under two ids is the user's to decide; in two splits it would be learned and then judged."""
    if pc.count_distinct(clips["split"]).as_py() < 2:
        return
    keys = video_keys(clips["uri"]) if videos is None else videos
    placed = pa.table({"key": keys, "split": clips["split"]}).filter(
        pc.and_(pc.is_valid(clips["split"]), pc.is_valid(keys))
    )
    spread = placed.group_by("key").aggregate([("split", "count_distinct")])
    leaked = spread.filter(pc.greater(spread["split_count_distinct"], 1))["key"]
    if not len(leaked):
        return
    one = _first(pc.and_(pc.is_valid(clips["split"]), pc.is_in(keys, leaked)))
    elsewhere = pc.and_(pc.equal(keys, keys[one]), pc.not_equal(clips["split"], clips["split"][one]))
    raise SchemaError(_leak(clips, one, _first(elsewhere.fill_null(False))))


def _leak(clips: pa.Table, one: int, two: int) -> str:
    first, second = (clips.slice(row, 1).to_pylist()[0] for row in (one, two))
    other = "" if first["uri"] == second["uri"] else f", as {second['uri']},"
    return (
        f"{first['uri']} is in {first['split']} (row {one + 1}, {first['clip_id']}) and{other} in {second['split']} "
        f"(row {two + 1}, {second['clip_id']}): a leak; keep it in one split"
    )


def _first(mask: pa.ChunkedArray) -> int:
    return int(np.flatnonzero(mask.to_numpy())[0])


def score_of(value: Any, row: int) -> float | None:
    """A score in [0, 1], or None for an empty cell, NaN, and the words that stand for them (NA, null, none).

    Raises:
        SchemaError: not a number, or outside [0, 1].
    """
    text = "" if value is None else str(value).strip()
    if text.lower() in NO_NUMBER:
        return None
    score = number_of(text)
    if score is None:
        hint = "; write it with a point" if text.count(",") == 1 else ""
        raise SchemaError(f"row {row}: score {value!r} is not a number; expected one in [0, 1], or empty{hint}")
    if not 0 <= score <= 1:
        raise SchemaError(f"row {row}: score {score:g} lies outside [0, 1]; divide percentages by 100")
    return score


def make_catalogue(
    root: Root, clips: pa.Table, seed: int, videos: pa.ChunkedArray | None = None, origin: Origin = UNKNOWN
) -> pa.Table:
    """Checks and splits the clips, and looks at each one's content; splits drawn earlier stay.

    Args:
        root: may hold an earlier catalogue.
        clips: the catalogue's columns.
        seed: of the draw.
        videos: which video each row is, from `video_keys`; None: by path.
        origin: where the data set lies, on which splits do not depend, and by what its clips are known.
    """
    keys = video_keys(clips["uri"]) if videos is None else videos
    folders = (*origin.folders, root.uri)
    return with_contents(split_clips(checked(clips, keys), given_splits(root), seed, keys, homes=folders), root, origin)


def write_catalogue(
    root: Root, clips: pa.Table, seed: int, videos: pa.ChunkedArray | None = None, origin: Origin = UNKNOWN
) -> pa.Table:
    """Makes the catalogue and writes it; what the one before alone told stays known."""
    table = make_catalogue(root, clips, seed, videos, origin)
    keep_older(root, homes_of(table.schema))
    keep_absent(root, table)
    root.write_table(table, CATALOGUE_FILE)
    return table


def read_catalogue(root: Root) -> pa.Table:
    """The catalogue of a root.

    Raises:
        StudyError: there is none.
    """
    if not root.exists(CATALOGUE_FILE):
        raise StudyError(f"{root.display(CATALOGUE_FILE)} does not exist: run jobs/extract.py --out {root.uri} first")
    return root.read_table(CATALOGUE_FILE)


def with_facts(table: pa.Table, facts: pa.Table | None) -> pa.Table:
    """The catalogue with what decoding learned of each clip, null where it was rejected.

    A column of the user's keeps its name: beside their `duration`, decoding's is `decoded_duration`. What an earlier
    call added is replaced.
    """
    if facts is None:
        return table
    earlier = [c.name for c in table.schema if LEARNED_KEY in (c.metadata or {}) and not is_content(c)]
    base = table.drop_columns(earlier)
    positions = pc.index_in(base["clip_id"], facts["clip_id"])
    for name in feature_names(facts.schema):
        shown = name
        while shown in base.column_names:
            shown = f"decoded_{shown}"
        column = pa.field(shown, facts[name].type, metadata={LEARNED_KEY: name.encode()})
        base = base.append_column(column, facts[name].take(positions))
    return base


def learned(catalogue: pa.Table, name: str) -> pa.ChunkedArray | None:
    """What decoding learned, whichever column it stands in; None where nothing was decoded.

    Args:
        catalogue: from `with_facts`, or of a root of before columns were marked.
        name: of `FACTS`.
    """
    marked = [column.name for column in catalogue.schema if (column.metadata or {}).get(LEARNED_KEY) == name.encode()]
    older = [name] if set(catalogue.column_names) >= _OLDER and name in catalogue.column_names else []
    return next((catalogue[column] for column in (*marked, *older)), None)
