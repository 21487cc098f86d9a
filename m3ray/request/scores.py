"""Whether clips have the scores that a training needs: known from their table, hours before their features are."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.datasets.listing import Listing
from m3ray.errors import StudyError
from m3ray.schema import CATALOGUE

_FEWEST = 2  # in train and in val, as a study's own check has it


def check_scored(listed: Listing | None) -> None:
    """Raises StudyError where no clip has a score.

    Args:
        listed: the clips; None: the demo's, which have scores.
    """
    if listed is not None and not _scored(listed).num_rows:
        raise StudyError(
            f"none of the {listed.table.num_rows} clips has a score, and training needs some: give a table with "
            f"columns uri and score{_columns(listed.table)} (--dataset table --root clips.csv), or compute features "
            "alone with jobs/extract.py"
        )


def check_enough(listed: Listing | None) -> None:
    """Raises StudyError where the scores that there are do not suffice, whatever becomes of their clips' features.

    Args:
        listed: as in `check_scored`; clips without any score are worth their features alone.
    """
    if listed is not None and (scored := _scored(listed)).num_rows:
        _check_counts(scored)
        _check_spread(scored["score"])


def _scored(listed: Listing) -> pa.Table:
    return listed.table.filter(pc.is_valid(listed.table["score"]))


def _columns(table: pa.Table) -> str:
    """The user's own columns, one of which may be meant."""
    own = [name for name in table.column_names if name not in CATALOGUE.names]
    return f"; this one has {', '.join(own)}" if own else ""


def _check_counts(scored: pa.Table) -> None:
    counts = {split: pc.sum(pc.equal(scored["split"], split)).as_py() or 0 for split in ("train", "val")}
    given = not scored["split"].null_count
    if scored.num_rows < 2 * _FEWEST or (given and min(counts.values()) < _FEWEST):
        where = f", {counts['train']} of them train and {counts['val']} val" if given else ""
        raise StudyError(
            f"{scored.num_rows} clips have a score{where}: training needs at least {_FEWEST} in train and {_FEWEST} in "
            "val: give more scores, or leave the column split out, which draws it"
        )


def _check_spread(scores: pa.ChunkedArray) -> None:
    span = pc.min_max(scores)
    if span["min"].as_py() == span["max"].as_py():
        raise StudyError(f"all {len(scores)} scores are {span['min'].as_py():g}: there is nothing to learn from them")
