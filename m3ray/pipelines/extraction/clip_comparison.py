"""Comparison of a catalogue's clips with what a root holds: the rows of a feature folder, and the rejects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.datasets.known_contents import is_worth_noting, resolve_contents
from m3ray.schema import CONTENT, LISTING
from m3ray.storage.contents import content_hashes, is_same_content, is_unknown_content
from m3ray.storage.fault_codes import is_transient_reject
from m3ray.storage.rejects import read_rejects
from m3ray.storage.root import Root

Folder = tuple[str, str]


@dataclass(frozen=True)
class FolderStatus:
    """What a feature folder holds of each clip; arrays are bool, (clips,).

    Args:
        done: Whether the folder has a row of the clip as it is now.
        stale: Whether the folder has a row that was computed from another content than the clip has now.
        copyable: Whether the folder lacks the clip, and has its content under another clip's id.
        outdated_stamp: Whether the folder has the clip's row, and more is known now of the content behind it.
    """

    done: np.ndarray
    stale: np.ndarray
    copyable: np.ndarray
    outdated_stamp: np.ndarray


def compare_with_folder(clips: pa.Table, rows: pa.Table, candidates: np.ndarray) -> FolderStatus:
    """Compare clips with the rows of a feature folder.

    Args:
        clips: Columns `clip_id` and `content`: content stamps as they are now.
        rows: Columns `clip_id` and `content`: content stamps from when the rows were computed.
        candidates: Whether the row of another clip may be copied to a clip, bool, (clips,).
    Returns:
        The status of each clip.
    """
    has_row, stale, outdated_stamp = _match_rows(clips, rows)
    done, copyable = has_row & ~stale, np.zeros(clips.num_rows, bool)
    missing = np.flatnonzero(~done & candidates)
    if len(missing) and rows[CONTENT].null_count < rows.num_rows:
        contents = content_hashes(rows[CONTENT]).drop_null()
        copyable[missing] = pc.is_in(content_hashes(clips[CONTENT].take(missing)), value_set=contents).to_numpy()
    return FolderStatus(done, stale, copyable, outdated_stamp)


def _match_rows(clips: pa.Table, rows: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether each clip has a row, whether one of its rows is stale, and whether its row knows less than the clip."""
    has_row, stale, outdated_stamp = (np.zeros(clips.num_rows, bool) for _ in range(3))
    row_indices, clip_indices = match_ids(rows["clip_id"], clips["clip_id"])
    now, then = clips[CONTENT].take(clip_indices), rows[CONTENT].take(row_indices)
    has_row[clip_indices] = True
    np.logical_or.at(stale, clip_indices, ~is_same_content(now, then))
    outdated_stamp[clip_indices] = is_worth_noting(now, then)
    return has_row, stale, outdated_stamp & ~stale


def match_ids(ids: pa.ChunkedArray, targets: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Match ids with the first equal one among target ids.

    Args:
        ids: Ids to look up.
        targets: Ids to look in.
    Returns:
        Indices of the ids that have a match, and the index of each match among the targets; int64, equally long.
    """
    matches = pc.index_in(ids, value_set=targets)
    indices = np.flatnonzero(pc.is_valid(matches).to_numpy())
    return indices, matches.take(indices).to_numpy().astype(np.int64)


def compare_with_rejects(
    root: Root, clips: pa.Table, known_contents: pa.Table, *, retry: bool, stages: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Compare clips with the rejects of a root.

    Clips that the storage failed, that have changed since, or that could not be looked at then and can now, are tried
    again; with `retry` all but those that must not be read.

    Args:
        root: Root that holds the rejects.
        clips: Columns `clip_id`, `uri` and `content`: content stamps as they are now.
        known_contents: Contents known of clips, from `read_known_contents`.
        retry: Whether all rejects are tried again.
        stages: Stages whose rejects are tried again, too.
    Returns:
        Whether each clip stays rejected; whether it does and more is known now of its content; bool, (clips,).
    """
    rejects = read_rejects(root)
    rejected, outdated_stamp = np.zeros(clips.num_rows, bool), np.zeros(clips.num_rows, bool)
    is_listing = pc.equal(rejects["stage"], LISTING)
    is_retried = pc.or_(is_transient_reject(rejects), pc.is_in(rejects["stage"], pa.array(stages, pa.string())))
    rejects = rejects.filter(is_listing if retry else pc.or_(is_listing, pc.invert(is_retried)))
    reject_indices, clip_indices = match_ids(rejects["clip_id"], clips["clip_id"])
    rejects, now = rejects.take(reject_indices), clips[CONTENT].take(clip_indices)
    then = resolve_contents(rejects, known_contents)[CONTENT].cast(pa.large_string())
    same_uri = pc.equal(rejects["uri"].cast(pa.string()), clips["uri"].take(clip_indices).cast(pa.string())).to_numpy()
    unchanged = np.where(pc.is_null(then).to_numpy(), same_uri, is_same_content(now, then))
    appeared = pc.and_(
        is_unknown_content(rejects[CONTENT]), pc.and_(pc.is_valid(now), pc.invert(is_unknown_content(now)))
    ).to_numpy()
    rejected[clip_indices] = pc.equal(rejects["stage"], LISTING).to_numpy() | (unchanged & ~appeared)
    outdated_stamp[clip_indices] = is_worth_noting(now, then)
    return rejected, rejected & outdated_stamp
