"""Splits of clips: given and earlier ones stay, the rest is drawn by video, so that none is in train and in val.

A video is train where a hash of the seed and of its path within the data set lies below 0.8: whatever other clips are
listed, in whatever order, and whenever they came. Where clips are grouped by their source, the hash is of the group's
name, and the nearest groups are moved until the clips are near 80/20. Also the draw of a few clips out of many.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.datasets.groups import join_numbers, name_groups, number_groups
from m3ray.datasets.identity import number_videos, video_keys
from m3ray.schema import SPLITS
from m3ray.storage.dataset_folders import dataset_folder, relative_paths

TRAIN_SHARE = 0.8
_NEAR = 0.01  # share of the clips that a draw by groups may be off, if groups allow
_MIN_SCORED = 2  # scored videos that a study needs in train and in val
_TRAIN, _VAL, _NONE = SPLITS.index("train"), SPLITS.index("val"), len(SPLITS)


def split_clips(
    clips: pa.Table,
    earlier: pa.Table | None,
    seed: int,
    videos: pa.ChunkedArray | None = None,
    *,
    homes: Sequence[str | None] = (),
    group: str | None = None,
    together: np.ndarray | None = None,
) -> pa.Table:
    """Give each clip without a split one: its video's if that has one, else train or val, drawn by hash, 80/20.

    A given split comes before an earlier one, an earlier one before the draw. Where an older root has drawn one video
    into several splits, all of it goes to the first of train, val and test: nobody may be evaluated on what they
    learned from. Where train is left with fewer than two scored videos (of all, where none is scored), the nearest ones
    by hash are taken into it; then likewise into val, of the scored ones that train can spare: nothing else needs it.

    With `group`, all clips of one source go where one of them is, and are drawn as one; a source that an earlier draw
    divided, as it knew of no groups, is drawn anew. With `together`, so do clips of one number; those that an earlier
    draw divided go to the first of train, val and test, so that what has trained a model does not judge the next one,
    unless that would leave less than half of val.

    Args:
        clips: the catalogue's columns; `split` and `score` may be null.
        earlier: `clip_id, uri, split` of an earlier catalogue; None where there is none.
        seed: seed of the draw.
        videos: which video each row is, from `video_keys`; None compares paths.
        homes: folders or tables of the data set; a video below one is drawn by its path there.
        group: column that names each clip's source; None: clips are not grouped by one.
        together: number of each row's near duplicates, from 0; None: they are not kept together.
    Returns:
        The clips, each with a split of `m3ray.schema.SPLITS`.
    """
    keys = video_keys(clips["uri"]) if videos is None else videos
    numbers = number_videos(keys)
    sources = numbers if group is None else join_numbers(numbers, number_groups(clips[group]))
    units = sources if together is None else join_numbers(sources, together)
    ranks = _share_ranks(_ranks(clips["split"]), numbers)
    ranks = np.where(ranks < _NONE, ranks, _share_ranks(ranks, units))
    if earlier is not None and (ranks == _NONE).any():
        earlier_ranks = _share_ranks(_ranks(_earlier_splits(clips, keys, earlier)), numbers)
        ranks = np.where(ranks < _NONE, ranks, _join_earlier(_share_undivided(earlier_ranks, sources), units))
    if (ranks == _NONE).any():
        names, scored = _draw_names(clips, keys, homes), pc.is_valid(clips["score"]).to_numpy()
        if group is not None:
            names = pc.coalesce(_name_sources(clips[group]).cast(names.type), names)
        is_grouped = group is not None or together is not None
        ranks = _draw_ranks(ranks, names, scored, units, seed, is_grouped=is_grouped)
    splits = pa.array(SPLITS).take(pa.array(ranks))
    return clips.set_column(clips.column_names.index("split"), "split", splits)


def draw_clips(clips: pa.Table, max_clips: int, seed: int = 0) -> pa.Table:
    """Draw a few clips out of many, so that what is fitted on them does not depend on how they were listed.

    Args:
        clips: table with a column `clip_id`.
        max_clips: largest number of clips to draw.
        seed: seed of the draw.
    Returns:
        The rows drawn, ordered by id; all of them where they are no more than that.
    """
    ordered = clips.sort_by("clip_id")
    if ordered.num_rows <= max_clips:
        return ordered
    chosen = np.random.default_rng(seed).choice(ordered.num_rows, max_clips, replace=False)
    return ordered.take(np.sort(chosen))


def select_fit_clips(catalogue: pa.Table, max_clips: int) -> tuple[pa.Table, str]:
    """Select the clips to fit something on: of the train split, or of all where no clip is in it.

    Args:
        catalogue: the catalogue; `split` may be null.
        max_clips: largest number of clips to select.
    Returns:
        The clips ordered by id, and which they were drawn from, "train" or "all".
    """
    train = catalogue.filter(pc.fill_null(pc.equal(catalogue["split"], "train"), False))
    return (draw_clips(train, max_clips), "train") if train.num_rows else (draw_clips(catalogue, max_clips), "all")


def _ranks(splits: pa.ChunkedArray) -> np.ndarray:
    """Indices into SPLITS, beyond its end where there is no split; int64, (rows,)."""
    return pc.fill_null(pc.index_in(splits, pa.array(SPLITS)), _NONE).to_numpy().astype(np.int64)


def _share_ranks(ranks: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The lowest rank of each row's video, so that all rows of a video share it."""
    first = np.full(numbers.max(initial=-1) + 1, _NONE)
    np.minimum.at(first, numbers, ranks)
    return first[numbers]


def _share_undivided(ranks: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The rank that the rows of each unit share; beyond SPLITS where no row has one, or two have different ones."""
    lowest, highest = _share_ranks(ranks, numbers), -_share_ranks(np.where(ranks < _NONE, -ranks, _NONE), numbers)
    return np.where(lowest == highest, lowest, _NONE)


def _join_earlier(ranks: np.ndarray, units: np.ndarray) -> np.ndarray:
    """The earlier rank of each row, shared with its near duplicates; those that it divides go to the first one.

    Where that would leave less than half of val, they have none, and are drawn anew: a study needs both sides.
    """
    joined = _share_ranks(ranks, units)
    is_emptied = 2 * (joined == _VAL).sum() < (ranks == _VAL).sum()
    return _share_undivided(ranks, units) if is_emptied else joined


def _earlier_splits(clips: pa.Table, keys: pa.ChunkedArray, earlier: pa.Table) -> pa.ChunkedArray:
    """The splits that an earlier catalogue gave to the clips, or to their videos under other ids."""
    splits = earlier["split"].take(pc.index_in(clips["clip_id"], earlier["clip_id"]))
    if not splits.null_count or "uri" not in earlier.column_names:
        return splits
    return pc.coalesce(splits, earlier["split"].take(pc.index_in(keys, video_keys(earlier["uri"]), skip_nulls=True)))


def _draw_names(clips: pa.Table, keys: pa.ChunkedArray, homes: Sequence[str | None]) -> pa.ChunkedArray:
    """The text by which each row's video is drawn: its path within the data set, or the clip's id where it has none.

    The real path comes first, since a video may be spelled in many ways; a link that leads out, or a hard link, counts
    as it is spelled.
    """
    folders = [dataset_folder(home) for home in homes if home]
    inside = [
        relative_paths(keys, os.path.realpath(folder) if folder.startswith("/") else folder) for folder in folders
    ]
    spelled = [relative_paths(clips["uri"].cast(keys.type), folder) for folder in folders]
    ids, uris = clips["clip_id"].cast(keys.type), clips["uri"].cast(keys.type)
    real = pc.if_else(pc.starts_with(keys, "inode "), None, keys)
    return pc.coalesce(*inside, *spelled, real, pc.if_else(pc.equal(uris, ""), None, uris), ids)


def _name_sources(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The text by which each row's source is drawn, which is never a path's; null where it has none."""
    return pc.binary_join_element_wise("group", name_groups(column), "\0")


def _draw_ranks(
    ranks: np.ndarray, names: pa.ChunkedArray, scored: np.ndarray, numbers: np.ndarray, seed: int, *, is_grouped: bool
) -> np.ndarray:
    """The rank of each row, those without one drawn by the lowest name of their unit: a video, or all of a source."""
    _, first, units = np.unique(numbers, return_index=True, return_inverse=True)
    of_units, scores = ranks[first], np.bincount(units, scored).astype(np.int64)
    is_new, hashes = of_units == _NONE, np.ones(len(first))
    rows = np.flatnonzero(is_new[units])
    lowest = pa.table({"unit": units[rows], "name": names.take(rows)}).group_by("unit").aggregate([("name", "min")])
    hashes[lowest["unit"].to_numpy()] = _hash_names(lowest["name_min"], seed)
    of_units = np.where(is_new, np.where(hashes < TRAIN_SHARE, _TRAIN, _VAL), of_units)
    if is_grouped:
        _even_out(of_units, is_new, hashes, np.bincount(units))
    # Rows of one video are one; of a source, each is a clip.
    _balance(of_units, is_new, hashes, scores if is_grouped else np.minimum(scores, 1))
    return np.where(ranks < _NONE, ranks, of_units[units])


def _even_out(ranks: np.ndarray, is_new: np.ndarray, hashes: np.ndarray, sizes: np.ndarray) -> None:
    """Move the nearest of the sources just drawn until the clips of train are near their share, if sources allow.

    Where no single one helps, two change places.
    """
    total = sizes[(ranks == _TRAIN) | (ranks == _VAL)].sum()
    distances = np.abs(hashes - TRAIN_SHARE)
    excess = sizes[ranks == _TRAIN].sum() - TRAIN_SHARE * total
    while abs(excess) > _NEAR * total:
        source, target = (_TRAIN, _VAL) if excess > 0 else (_VAL, _TRAIN)
        leaving, coming = (np.flatnonzero(is_new & (ranks == which)) for which in (source, target))
        # A source of more than twice the excess would leave as large a lack.
        leaving_alone = leaving[sizes[leaving] < 2 * abs(excess)]
        if len(leaving_alone):
            moved = leaving_alone[[np.argmin(distances[leaving_alone])]]
        else:
            moved = _find_swap(leaving, coming, sizes, distances, abs(excess))
        if not len(moved):
            return
        ranks[moved] = np.where(ranks[moved] == source, target, source)
        excess = sizes[ranks == _TRAIN].sum() - TRAIN_SHARE * total


def _find_swap(
    leaving: np.ndarray, coming: np.ndarray, sizes: np.ndarray, distances: np.ndarray, excess: float
) -> np.ndarray:
    """The two sources, one of each side, that leave least excess when they change places; none where none helps."""
    # Few sizes, many sources: each size is paired with the two that are next to what it should change places with.
    large, small = np.unique(sizes[leaving]), np.unique(sizes[coming])
    if not len(large) or not len(small):
        return np.empty(0, np.int64)
    above = np.searchsorted(small, large - excess)
    first = np.tile(np.arange(len(large)), 2)
    second = np.clip(np.concatenate([above - 1, above]), 0, len(small) - 1)
    left = np.abs(excess - (large[first] - small[second]))
    best = np.argmin(left)
    if left[best] >= excess:
        return np.empty(0, np.int64)
    of_sizes = leaving[sizes[leaving] == large[first[best]]], coming[sizes[coming] == small[second[best]]]
    return np.array([rows[np.argmin(distances[rows])] for rows in of_sizes])


def _balance(ranks: np.ndarray, is_new: np.ndarray, hashes: np.ndarray, scores: np.ndarray) -> None:
    """Move the nearest of the units just drawn to a split that has too few, while the other one keeps enough."""
    counts = scores if scores.any() else np.ones(len(ranks), np.int64)
    _move(_TRAIN, _VAL, np.argmin, ranks, is_new & (counts > 0), counts, hashes, keep=0)
    _move(_VAL, _TRAIN, np.argmax, ranks, is_new & (scores > 0), scores, hashes, keep=_MIN_SCORED)


def _move(
    target: int,
    source: int,
    nearest: Callable[[np.ndarray], np.intp],
    ranks: np.ndarray,
    movable: np.ndarray,
    counts: np.ndarray,
    hashes: np.ndarray,
    *,
    keep: int,
) -> None:
    for _ in range(_MIN_SCORED):
        few, many = (int(counts[ranks == which].sum()) for which in (target, source))
        candidates = np.flatnonzero(movable & (ranks == source) & (many - counts >= keep))
        if few < _MIN_SCORED and len(candidates):
            ranks[candidates[nearest(hashes[candidates])]] = target


def _hash_names(names: pa.ChunkedArray, seed: int) -> np.ndarray:
    """A number in [0, 1) a name that depends on it and the seed alone."""
    digests = (hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8] for name in names.to_pylist())
    return np.frombuffer(b"".join(digests), ">u8").astype(np.float64) / 2.0**64
