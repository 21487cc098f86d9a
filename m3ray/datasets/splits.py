"""Splits: given ones stay, earlier ones stay, and the rest is drawn by video, so that none stands on both sides.

A video is train where a hash of the seed and of its path within the data set lies below 0.8: whatever other clips are
listed, in whatever order, and whenever they came. Also the draw of a few clips out of many.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.datasets.identity import numbered, video_keys
from m3ray.schema import SPLITS
from m3ray.storage.homes import folder_of, within

TRAIN_SHARE = 0.8
# A study needs two scored clips of each side.
_FEWEST = 2
_TRAIN, _VAL, _NONE = SPLITS.index("train"), SPLITS.index("val"), len(SPLITS)


def split_clips(
    clips: pa.Table,
    known: pa.Table | None,
    seed: int,
    videos: pa.ChunkedArray | None = None,
    *,
    homes: Sequence[str | None] = (),
) -> pa.Table:
    """Gives each clip without a split one: its video's if that has one, else train or val, drawn by hash, 80/20.

    A given split comes before an earlier one, an earlier one before the draw. Where an older root has drawn one video
    into several splits, all of it goes to the first of train, val and test: what was learned from is not judged by.
    Where train is left with fewer than two scored videos (of all, where none is scored), the nearest ones by hash are
    taken into it; then likewise into val, of the scored ones that train can spare: nothing else needs it.

    Args:
        clips: the catalogue's columns.
        known: `clip_id, uri, split` of an earlier catalogue.
        seed: of the draw.
        videos: which video each row is, from `video_keys`; None: by path.
        homes: folders or tables of the data set; a video below one is drawn by its path there.
    """
    keys = video_keys(clips["uri"]) if videos is None else videos
    numbers = numbered(keys)
    ranks = _spread(_ranks(clips["split"]), numbers)
    if known is not None and (ranks == _NONE).any():
        ranks = np.where(ranks < _NONE, ranks, _spread(_ranks(_earlier(clips, keys, known)), numbers))
    if (ranks == _NONE).any():
        ranks = _drawn(ranks, _names(clips, keys, homes), pc.is_valid(clips["score"]).to_numpy(), numbers, seed)
    splits = pa.array(SPLITS).take(pa.array(ranks))
    return clips.set_column(clips.column_names.index("split"), "split", splits)


def drawn_clips(clips: pa.Table, most: int, seed: int = 0) -> pa.Table:
    """At most so many clips, ordered by id, so that what is fitted on them does not depend on how they were listed."""
    ordered = clips.sort_by("clip_id")
    if ordered.num_rows <= most:
        return ordered
    chosen = np.random.default_rng(seed).choice(ordered.num_rows, most, replace=False)
    return ordered.take(np.sort(chosen))


def clips_to_fit(catalogue: pa.Table, most: int) -> tuple[pa.Table, str]:
    """At most so many clips of the train split, of all where none is marked so; and which, `train` or `all`."""
    train = catalogue.filter(pc.fill_null(pc.equal(catalogue["split"], "train"), False))
    return (drawn_clips(train, most), "train") if train.num_rows else (drawn_clips(catalogue, most), "all")


def _ranks(splits: pa.ChunkedArray) -> np.ndarray:
    """Places in SPLITS, beyond them where there is none; int64, (rows,)."""
    return pc.fill_null(pc.index_in(splits, pa.array(SPLITS)), _NONE).to_numpy().astype(np.int64)


def _spread(ranks: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Each row's first rank of its video."""
    first = np.full(numbers.max(initial=-1) + 1, _NONE)
    np.minimum.at(first, numbers, ranks)
    return first[numbers]


def _earlier(clips: pa.Table, keys: pa.ChunkedArray, known: pa.Table) -> pa.ChunkedArray:
    """The splits that an earlier catalogue gave to the clips, or to their videos under other ids."""
    splits = known["split"].take(pc.index_in(clips["clip_id"], known["clip_id"]))
    if not splits.null_count or "uri" not in known.column_names:
        return splits
    return pc.coalesce(splits, known["split"].take(pc.index_in(keys, video_keys(known["uri"]), skip_nulls=True)))


def _names(clips: pa.Table, keys: pa.ChunkedArray, homes: Sequence[str | None]) -> pa.ChunkedArray:
    """The text by which each row's video is drawn: its path within the data set, or the clip's id where it has none.

    The real path comes first, since a video may be spelled in many ways; a link that leads out, or a hard link, counts
    as it is spelled.
    """
    folders = [folder_of(home) for home in homes if home]
    inside = [within(keys, os.path.realpath(folder) if folder.startswith("/") else folder) for folder in folders]
    spelled = [within(clips["uri"].cast(keys.type), folder) for folder in folders]
    ids, uris = clips["clip_id"].cast(keys.type), clips["uri"].cast(keys.type)
    real = pc.if_else(pc.starts_with(keys, "inode "), None, keys)
    return pc.coalesce(*inside, *spelled, real, pc.if_else(pc.equal(uris, ""), None, uris), ids)


def _drawn(ranks: np.ndarray, names: pa.ChunkedArray, scored: np.ndarray, numbers: np.ndarray, seed: int) -> np.ndarray:
    """The rank of each row, those without one drawn by the lowest name of their video."""
    _, first, places = np.unique(numbers, return_index=True, return_inverse=True)
    sides, scores = ranks[first], np.zeros(len(first), bool)
    np.logical_or.at(scores, places, scored)
    fresh, hashes = sides == _NONE, np.ones(len(first))
    rows = np.flatnonzero(fresh[places])
    lowest = pa.table({"video": places[rows], "name": names.take(rows)}).group_by("video").aggregate([("name", "min")])
    hashes[lowest["video"].to_numpy()] = _hashes(lowest["name_min"], seed)
    sides = np.where(fresh, np.where(hashes < TRAIN_SHARE, _TRAIN, _VAL), sides)
    _fill(sides, fresh, hashes, scores)
    return sides[places]


def _fill(sides: np.ndarray, fresh: np.ndarray, hashes: np.ndarray, scored: np.ndarray) -> None:
    """Takes the nearest of the videos just drawn over to a side that has too few, while the other one keeps enough."""
    counted = scored if scored.any() else np.ones(len(sides), bool)
    _take(_TRAIN, _VAL, np.argmin, sides, fresh & counted, counted, hashes, keep=0)
    _take(_VAL, _TRAIN, np.argmax, sides, fresh & scored, scored, hashes, keep=_FEWEST)


def _take(
    side: int,
    other: int,
    nearest: Callable[[np.ndarray], np.intp],
    sides: np.ndarray,
    movable: np.ndarray,
    counted: np.ndarray,
    hashes: np.ndarray,
    *,
    keep: int,
) -> None:
    for _ in range(_FEWEST):
        few, many = (int((counted & (sides == which)).sum()) for which in (side, other))
        candidates = np.flatnonzero(movable & (sides == other))
        if few < _FEWEST and many > keep and len(candidates):
            sides[candidates[nearest(hashes[candidates])]] = side


def _hashes(names: pa.ChunkedArray, seed: int) -> np.ndarray:
    """A number in [0, 1) a name that depends on it and the seed alone."""
    digests = (hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8] for name in names.to_pylist())
    return np.frombuffer(b"".join(digests), ">u8").astype(np.float64) / 2.0**64
