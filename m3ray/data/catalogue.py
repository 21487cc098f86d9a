"""The catalogue: the clips of a root, checked, split, and kept. Column by column, so that millions of rows fit."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.data.filesystems import has_secret
from m3ray.data.store import Root
from m3ray.errors import SchemaError, StudyError
from m3ray.schema import SPLITS

NAME = "catalogue.parquet"
TRAIN_SHARE = 0.8


def checked(clips: pa.Table) -> pa.Table:
    """The clips, if every id is unique and every split possible, and no video stands in two splits.

    Args:
        clips: the catalogue's columns; `split` may be null.
    Raises:
        SchemaError: names the rows that clash or the row that is impossible.
    """
    _check_ids(clips)
    known = pc.or_kleene(pc.is_null(clips["split"]), pc.is_in(clips["split"], pa.array(SPLITS)))
    if not pc.all(known).as_py():
        row = _first(pc.invert(known))
        name, split = clips["clip_id"][row].as_py(), clips["split"][row].as_py()
        raise SchemaError(f"row {row + 1} ({name}): split {split!r} is none of {', '.join(SPLITS)}")
    _check_leaks(clips)
    _check_secrets(clips)
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


def _check_leaks(clips: pa.Table) -> None:
    """One video under two ids is the user's to decide; in two splits it would be learned and then judged."""
    placed = clips.select(["uri", "split"]).filter(pc.and_(pc.is_valid(clips["split"]), pc.not_equal(clips["uri"], "")))
    spread = placed.group_by("uri").aggregate([("split", "count_distinct")])
    leaked = spread.filter(pc.greater(spread["split_count_distinct"], 1))
    if not leaked.num_rows:
        return
    uri = leaked["uri"][0].as_py()
    rows = np.flatnonzero(pc.and_(pc.equal(clips["uri"], uri), pc.is_valid(clips["split"])).to_numpy())
    splits = clips["split"].take(rows).to_pylist()
    one, two = rows[0], next(row for row, split in zip(rows, splits, strict=True) if split != splits[0])
    words = [f"in {clips['split'][row].as_py()} (row {row + 1}, {clips['clip_id'][row].as_py()})" for row in (one, two)]
    raise SchemaError(f"{uri} is {words[0]} and {words[1]}: a leak; keep it in one split")


def _check_secrets(clips: pa.Table) -> None:
    suspects = pc.match_substring_regex(clips["uri"], "^[A-Za-z0-9+.-]+://[^/]*@")
    for row in np.flatnonzero(suspects.to_numpy()):
        if has_secret(clips["uri"][row].as_py()):
            raise SchemaError(
                f"row {row + 1}: the uri carries credentials (user:password@), which would stand in tables and logs: "
                "give them through the environment or a role"
            )


def _first(mask: pa.ChunkedArray) -> int:
    return int(np.flatnonzero(mask.to_numpy())[0])


def score_of(value: Any, row: int) -> float | None:
    """A score in [0, 1], or None for an empty cell.

    Raises:
        SchemaError: not a number, or outside [0, 1].
    """
    if value is None or (isinstance(value, float) and math.isnan(value)) or str(value).strip() == "":
        return None
    try:
        score = float(value)
    except (TypeError, ValueError):
        raise SchemaError(f"row {row}: score {value!r} is not a number; expected one in [0, 1], or empty") from None
    if not 0 <= score <= 1:
        raise SchemaError(f"row {row}: score {score:g} lies outside [0, 1]; divide percentages by 100")
    return score


def split_clips(clips: pa.Table, known: pa.Table | None, seed: int) -> pa.Table:
    """Gives each clip without a split one: its earlier one if known, else 80/20 train/val, seeded.

    Scored and unscored clips are drawn apart, so both splits get their share of scores.

    Args:
        clips: the catalogue's columns.
        known: `clip_id, split` of an earlier catalogue.
        seed: of the draw.
    """
    splits = clips["split"]
    if known is not None:
        splits = pc.coalesce(splits, known["split"].take(pc.index_in(clips["clip_id"], known["clip_id"])))
    result = splits.to_numpy(zero_copy_only=False).astype(object)
    scored = pc.is_valid(clips["score"]).to_numpy()
    fresh = pc.is_null(splits).to_numpy()
    for group in (fresh & scored, fresh & ~scored):
        rows = np.flatnonzero(group)
        order = rows[np.argsort(_draws(clips["clip_id"].take(rows), seed), kind="stable")]
        train = round(len(order) * TRAIN_SHARE)
        result[order[:train]], result[order[train:]] = "train", "val"
    return clips.set_column(clips.column_names.index("split"), "split", pa.array(result, pa.string()))


def _draws(ids: pa.ChunkedArray, seed: int) -> np.ndarray:
    """A number a clip that depends on its id and the seed alone: uint64."""
    digests = (hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8] for chunk in ids.chunks for name in chunk)
    return np.frombuffer(b"".join(digests), ">u8")


def make_catalogue(root: Root, clips: pa.Table, seed: int) -> pa.Table:
    """Checks and splits the clips; splits drawn earlier stay."""
    known = root.read_table(NAME, columns=["clip_id", "split"]) if root.exists(NAME) else None
    return split_clips(checked(clips), known, seed)


def write_catalogue(root: Root, clips: pa.Table, seed: int) -> pa.Table:
    """Makes the catalogue and writes it."""
    table = make_catalogue(root, clips, seed)
    root.write_table(table, NAME)
    return table


def read_catalogue(root: Root) -> pa.Table:
    """The catalogue of a root.

    Raises:
        StudyError: there is none.
    """
    if not root.exists(NAME):
        raise StudyError(f"{root.display(NAME)} does not exist: run jobs/extract.py --out {root.uri} first")
    return root.read_table(NAME)


def with_facts(table: pa.Table, facts: pa.Table | None) -> pa.Table:
    """The catalogue with what decoding learned of each clip, null where it was rejected."""
    if facts is None:
        return table
    learned = [name for name in facts.column_names if name != "clip_id"]
    base = table.drop_columns([name for name in learned if name in table.column_names])
    positions = pc.index_in(base["clip_id"], facts["clip_id"])
    for name in learned:
        base = base.append_column(name, facts[name].take(positions))
    return base
