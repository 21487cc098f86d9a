"""Splits that were drawn before near duplicates could be found, as vectors exist only once clips are decoded.

They are drawn once more, by group, when the features are there. Until then `artifacts/unsettled.parquet` names them, so
that a job that is cut off and started again ends where one that ran through does.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.datasets.given_splits import read_given_splits
from m3ray.storage.root import Root

NAME = ("artifacts", "unsettled.parquet")


def read_unsettled(root: Root) -> pa.ChunkedArray:
    """Read which clips' splits are to be drawn once more.

    Args:
        root: Root of a job.
    Returns:
        Their ids.
    """
    return root.read_table(*NAME)["clip_id"] if root.exists(*NAME) else pa.chunked_array([], pa.string())


def note_unsettled(root: Root, clips: pa.Table) -> None:
    """Note the clips that no earlier job gave a split; called before their catalogue is written.

    Args:
        root: Root that gets the note.
        clips: Clips with `clip_id`, of which those with a given split may be among the noted: they keep it.
    """
    given, ids = read_settled_splits(root), clips["clip_id"].cast(pa.string())
    if given is not None:
        ids = ids.filter(pc.invert(pc.is_in(ids, value_set=given["clip_id"])))
    if len(ids) or root.exists(*NAME):
        root.write_table(pa.table({"clip_id": ids}), *NAME)


def read_settled_splits(root: Root) -> pa.Table | None:
    """Read the splits that stay.

    Args:
        root: Root of a job.
    Returns:
        `clip_id, uri, split` as `read_given_splits` has them, without those that are to be drawn once more.
    """
    given, unsettled = read_given_splits(root), read_unsettled(root)
    if given is None or not len(unsettled):
        return given
    return given.filter(pc.invert(pc.is_in(given["clip_id"], value_set=unsettled.combine_chunks())))


def settle(root: Root) -> None:
    """Note that all splits stay from here on.

    Args:
        root: Root of a job.
    """
    if root.exists(*NAME):
        root.delete(*NAME)
