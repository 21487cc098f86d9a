"""What has changed since it was computed: clips against the rows of a folder, and against rejects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.datasets.clip_contents import stamps_of
from m3ray.datasets.known_contents import resolved, worth_noting
from m3ray.schema import CONTENT, LISTING
from m3ray.storage.compaction import keep_rows
from m3ray.storage.contents import same, strong, unseen
from m3ray.storage.fault_codes import are_passing
from m3ray.storage.root import Root, metadata_of
from m3ray.storage.tier_index import changed_since_fit, note_fit, reject_rows, stamps_by_shard

Folder = tuple[str, str]


@dataclass(frozen=True)
class Stand:
    """How a folder stands to a catalogue, a boolean a clip each.

    Args:
        done: it has the clip's row.
        stale: it has a row that was computed from something else than the clip is now.
        copied: it lacks the clip, and has its content under another clip's id.
        telling: it has the clip's row, and more is known now of what that was computed from.
    """

    done: np.ndarray
    stale: np.ndarray
    copied: np.ndarray
    telling: np.ndarray


def stand_of(clips: pa.Table, rows: pa.Table, wanted: np.ndarray) -> Stand:
    """Compares clips with the rows of a folder.

    Args:
        clips: `clip_id`, and `content`: stamps as they are now.
        rows: the same, as they were when the rows were computed, or as is known of that.
        wanted: whether a clip may be copied.
    """
    have, stale, telling = _held(clips, rows)
    done, copied = have & ~stale, np.zeros(clips.num_rows, bool)
    lacking = np.flatnonzero(~done & wanted)
    if len(lacking) and rows[CONTENT].null_count < rows.num_rows:
        known = strong(rows[CONTENT]).drop_null()
        copied[lacking] = pc.is_in(strong(clips[CONTENT].take(lacking)), value_set=known).to_numpy()
    return Stand(done, stale, copied, telling)


def _held(clips: pa.Table, rows: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether each clip has a row, whether one of its rows is stale, and whether its row tells less than the clip."""
    have, stale, telling = (np.zeros(clips.num_rows, bool) for _ in range(3))
    found, places = _matched(rows["clip_id"], clips["clip_id"])
    now, then = clips[CONTENT].take(places), rows[CONTENT].take(found)
    have[places] = True
    np.logical_or.at(stale, places, ~same(now, then))
    telling[places] = worth_noting(now, then)
    return have, stale, telling & ~stale


def _matched(ids: pa.ChunkedArray, known: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the ids that are known, and where among the known ones each is."""
    places = pc.fill_null(pc.index_in(ids, value_set=known), -1).to_numpy()
    found = np.flatnonzero(places >= 0)
    return found, places[found]


def held_back(
    root: Root, clips: pa.Table, known: pa.Table, *, retry: bool, stages: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each clip was rejected and is not tried again; and whether its reject tells less than the clip.

    Tried again are those that the storage failed, those that have changed since, and those that could not be looked at
    then and can now; with `retry` all but those that must not be read.

    Args:
        root: holds the rejects.
        clips: `clip_id`, `uri` and `content`, stamps as they are now.
        known: of `known_contents`.
        retry: whether all are tried again.
        stages: those that were rejected in one of these are tried again, too.
    """
    rows, held, telling = reject_rows(root), np.zeros(clips.num_rows, bool), np.zeros(clips.num_rows, bool)
    listed = pc.equal(rows["stage"], LISTING)
    again = pc.or_(are_passing(rows), pc.is_in(rows["stage"], pa.array(stages, pa.string())))
    settled = pc.invert(again)
    rows = rows.filter(pc.or_(listed, settled if not retry else listed))
    found, places = _matched(rows["clip_id"], clips["clip_id"])
    rows, now = rows.take(found), clips[CONTENT].take(places)
    told = resolved(rows, known)[CONTENT].cast(pa.large_string())
    there = pc.equal(rows["uri"].cast(pa.string()), clips["uri"].take(places).cast(pa.string())).to_numpy()
    unchanged = np.where(pc.is_null(told).to_numpy(), there, same(now, told))
    appeared = pc.and_(unseen(rows[CONTENT]), pc.and_(pc.is_valid(now), pc.invert(unseen(now)))).to_numpy()
    held[places] = pc.equal(rows["stage"], LISTING).to_numpy() | (unchanged & ~appeared)
    telling[places] = worth_noting(now, told)
    return held, held & telling


def note_fitted(root: Root, name: str, clips: pa.Table) -> None:
    """Keeps beside a fit which clips of the catalogue it was fitted on, and what they were then.

    Args:
        root: holds the catalogue.
        name: of the fit, under `artifacts/`.
        clips: rows of the catalogue.
    """
    note_fit(root, name, pa.table({"clip_id": clips["clip_id"], CONTENT: stamps_of(root, clips)}))


def changed_fit(root: Root, name: str, what: str, catalogue: pa.Table) -> str | None:
    """In words, how many of the clips that something was fitted on have changed since; None where none has.

    Args:
        root: holds the fit.
        name: as it was noted.
        what: the fit in words.
        catalogue: the clips as they are now.
    """
    now = pa.table({"clip_id": catalogue["clip_id"], CONTENT: stamps_of(root, catalogue)})
    count = changed_since_fit(root, name, now)
    return f"{count} of the clips that {what} was fitted on changed since" if count else None


def copy_rows(root: Root, folder: Folder, copies: pa.Table, known: pa.Table | None = None) -> None:
    """Gives clips the rows of others that have their content. A row that is gone meanwhile is left to be computed.

    Args:
        root: holds the folder.
        folder: of a tier.
        copies: `clip_id` and `content` of the clips that get them.
        known: of `known_contents`.
    """
    wanted = copies
    for name, rows in stamps_by_shard(root, *folder).items():
        of_rows = strong(resolved(rows, known)[CONTENT])
        if pc.any(pc.is_in(of_rows, value_set=strong(wanted[CONTENT]).drop_null())).as_py():
            # Read anew: a shard of just these clips may have been written over it.
            shard = _with_content(root.read_table(*folder, name))
            found, sources = _matched(strong(wanted[CONTENT]), strong(resolved(shard, known)[CONTENT]))
            if len(found):
                rows = _renamed(shard.take(sources), wanted.take(found))
                root.write_shard(rows, folder, metadata_of(shard.schema))
            wanted = wanted.take(np.setdiff1d(np.arange(wanted.num_rows), found))


def _with_content(shard: pa.Table) -> pa.Table:
    if CONTENT in shard.column_names:
        return shard
    return shard.append_column(CONTENT, pa.nulls(shard.num_rows, pa.string()))


def _renamed(rows: pa.Table, clips: pa.Table) -> pa.Table:
    for name in ("clip_id", CONTENT):
        rows = rows.set_column(rows.column_names.index(name), name, clips[name].cast(pa.string()))
    return rows


def drop_stale(
    root: Root, folder: Folder, clips: pa.Table, *, known: pa.Table | None = None, prefix: str = "^"
) -> None:
    """Takes out the rows of clips that were computed from something else than these are now.

    Args:
        root: holds the folder.
        folder: of a tier.
        clips: `clip_id` and `content`, stamps as they are now.
        known: of `known_contents`.
        prefix: pattern of what stands before a clip's id in the rows'.
    """
    masks = {}
    for name, of_shard in stamps_by_shard(root, *folder).items():
        rows = resolved(of_shard, known)
        owners = pc.replace_substring_regex(rows["clip_id"], prefix, "", max_replacements=1)
        found, places = _matched(owners, clips["clip_id"])
        masks[name] = np.ones(rows.num_rows, bool)
        masks[name][found] = same(clips[CONTENT].take(places), rows[CONTENT].take(found))
    keep_rows(root, folder, masks)
