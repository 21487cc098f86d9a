"""The catalogue: the clips of a root, checked, split, and kept."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.data.store import Root
from m3ray.errors import SchemaError, StudyError
from m3ray.schema import SPLITS, Clip, catalogue_table

NAME = "catalogue.parquet"
TRAIN_SHARE = 0.8


def checked(clips: Sequence[Clip]) -> list[Clip]:
    """The clips, if every id is unique and every split and score possible.

    Raises:
        SchemaError: names the rows that clash or the row that is impossible.
    """
    seen: dict[str, int] = {}
    videos: dict[str, int] = {}
    for row, clip in enumerate(clips, start=1):
        if clip.clip_id in seen:
            first = clips[seen[clip.clip_id] - 1]
            leak = f" (in {first.split} and in {clip.split}: a leak)" if first.split != clip.split else ""
            raise SchemaError(
                f"clip_id {clip.clip_id!r} stands in row {seen[clip.clip_id]} ({first.uri}) "
                f"and in row {row} ({clip.uri}){leak}: ids are unique; rename one or drop a row"
            )
        seen[clip.clip_id] = row
        _check_leak(clips, videos, row)
        if clip.split is not None and clip.split not in SPLITS:
            raise SchemaError(f"row {row} ({clip.clip_id}): split {clip.split!r} is none of {', '.join(SPLITS)}")
    return list(clips)


def _check_leak(clips: Sequence[Clip], videos: dict[str, int], row: int) -> None:
    """One video under two ids is the user's to decide; in two splits it would be learned and then judged."""
    clip = clips[row - 1]
    first = clips[videos.setdefault(clip.uri, row) - 1]
    if clip.uri and first.split != clip.split and None not in (first.split, clip.split):
        raise SchemaError(
            f"{clip.uri} is in {first.split} (row {videos[clip.uri]}, {first.clip_id}) and in {clip.split} (row {row}, "
            f"{clip.clip_id}): a leak; keep it in one split"
        )


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


def split_clips(clips: Sequence[Clip], known: dict[str, str], seed: int) -> list[Clip]:
    """Gives each clip without a split one: its earlier one if known, else 80/20 train/val, seeded.

    Scored and unscored clips are drawn apart, so both splits get their share of scores.
    """
    drawn: dict[str, str] = {}
    for scored in (True, False):
        fresh = [c.clip_id for c in clips if not c.split and c.clip_id not in known and (c.score is not None) == scored]
        order = sorted(fresh, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
        train = round(len(order) * TRAIN_SHARE)
        drawn.update({name: "train" if k < train else "val" for k, name in enumerate(order)})
    return [replace(c, split=c.split or known.get(c.clip_id) or drawn[c.clip_id]) for c in clips]


def make_catalogue(root: Root, clips: Sequence[Clip], seed: int) -> pa.Table:
    """Checks and splits the clips; splits drawn earlier stay."""
    known: dict[str, str] = {}
    if root.exists(NAME):
        earlier = root.read_table(NAME, columns=["clip_id", "split"])
        known = dict(zip(earlier["clip_id"].to_pylist(), earlier["split"].to_pylist(), strict=True))
    return catalogue_table(split_clips(checked(clips), known, seed))


def write_catalogue(root: Root, clips: Sequence[Clip], seed: int) -> pa.Table:
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
