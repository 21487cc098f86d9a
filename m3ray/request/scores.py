"""Checks that clips have the scores that training needs, from their table and so before any feature is computed."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.datasets.listing import Listing
from m3ray.errors import StudyError
from m3ray.schema import CATALOGUE

_MIN_SCORED = 2  # in train and in val, as a study's own check has it


def check_has_scores(listing: Listing | None) -> None:
    """Check that a clip has a score.

    Args:
        listing: The clips; None: the demo's, which have scores.
    Raises:
        StudyError: If none has.
    """
    if listing is not None and not _select_scored(listing).num_rows:
        raise StudyError(
            f"none of the {listing.table.num_rows} clips has a score, and training needs some: give a table with "
            f"columns uri and score{_format_own_columns(listing.table)} (--dataset table --root clips.csv), or compute "
            "features alone with jobs/extract.py"
        )


def check_enough_scores(listing: Listing | None) -> None:
    """Check that the scores suffice for training, whatever becomes of their clips' features.

    Args:
        listing: The clips; None: the demo's. Where no clip has a score, features alone are wanted, and that passes.
    Raises:
        StudyError: If too few clips have a score, or all scores are one.
    """
    if listing is not None and (scored := _select_scored(listing)).num_rows:
        _check_counts(scored)
        _check_spread(scored["score"])


def _select_scored(listing: Listing) -> pa.Table:
    return listing.table.filter(pc.is_valid(listing.table["score"]))


def _format_own_columns(table: pa.Table) -> str:
    """The user's own columns, one of which may hold the scores."""
    own = [name for name in table.column_names if name not in CATALOGUE.names]
    return f"; this one has {', '.join(own)}" if own else ""


def _check_counts(scored: pa.Table) -> None:
    counts = {split: pc.sum(pc.equal(scored["split"], split)).as_py() or 0 for split in ("train", "val")}
    has_split = not scored["split"].null_count
    if scored.num_rows < 2 * _MIN_SCORED or (has_split and min(counts.values()) < _MIN_SCORED):
        where = f", {counts['train']} of them train and {counts['val']} val" if has_split else ""
        raise StudyError(
            f"{scored.num_rows} clips have a score{where}: training needs at least {_MIN_SCORED} in train and "
            f"{_MIN_SCORED} in val: give more scores, or leave the column split out, which draws it"
        )


def _check_spread(scores: pa.ChunkedArray) -> None:
    span = pc.min_max(scores)
    if span["min"].as_py() == span["max"].as_py():
        raise StudyError(f"all {len(scores)} scores are {span['min'].as_py():g}: there is nothing to learn from them")
