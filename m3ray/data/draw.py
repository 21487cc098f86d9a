"""Splits: given ones stay, earlier ones stay, and the rest is drawn by video, so that none stands on both sides."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.data.identity import numbered, video_keys
from m3ray.schema import SPLITS

TRAIN_SHARE = 0.8
_NONE = len(SPLITS)


def split_clips(clips: pa.Table, known: pa.Table | None, seed: int, videos: pa.ChunkedArray | None = None) -> pa.Table:
    """Gives each clip without a split one: its video's if that has one, else 80/20 train/val of the videos, seeded.

    A given split comes before an earlier one, an earlier one before the draw. Where an older root has drawn one video
    into several splits, all of it goes to the first of train, val and test: what was learned from is not judged by.
    Scored and unscored videos are drawn apart, so both splits get their share of scores.

    Args:
        clips: the catalogue's columns.
        known: `clip_id, uri, split` of an earlier catalogue.
        seed: of the draw.
        videos: which video each row is, from `video_keys`; None: by path.
    """
    keys = video_keys(clips["uri"]) if videos is None else videos
    numbers = numbered(keys)
    ranks = _spread(_ranks(clips["split"]), numbers)
    if known is not None and (ranks == _NONE).any():
        ranks = np.where(ranks < _NONE, ranks, _spread(_ranks(_earlier(clips, keys, known)), numbers))
    fresh = np.flatnonzero(ranks == _NONE)
    ranks[fresh] = _drawn(
        clips["clip_id"].take(fresh), pc.is_valid(clips["score"]).to_numpy()[fresh], numbers[fresh], seed
    )
    splits = pa.array(SPLITS).take(pa.array(ranks))
    return clips.set_column(clips.column_names.index("split"), "split", splits)


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


def _drawn(ids: pa.ChunkedArray, scored: np.ndarray, numbers: np.ndarray, seed: int) -> np.ndarray:
    """The rank of each row: 80 % of the videos are train, in the order of each video's lowest draw."""
    _, first, places = np.unique(numbers, return_index=True, return_inverse=True)
    draws, any_score = np.full(len(first), np.iinfo(np.uint64).max, np.uint64), np.zeros(len(first), bool)
    np.minimum.at(draws, places, _draws(ids, seed))
    np.logical_or.at(any_score, places, scored)
    ranks = np.empty(len(first), np.int64)
    for group in (any_score, ~any_score):
        members = np.flatnonzero(group)
        order = members[np.argsort(draws[members], kind="stable")]
        train = round(len(order) * TRAIN_SHARE)
        ranks[order[:train]], ranks[order[train:]] = SPLITS.index("train"), SPLITS.index("val")
    return ranks[places]


def _draws(ids: pa.ChunkedArray, seed: int) -> np.ndarray:
    """A number a clip that depends on its id and the seed alone: uint64."""
    digests = (hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8] for chunk in ids.chunks for name in chunk)
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)
