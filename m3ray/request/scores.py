"""Checks that clips have the scores that training needs, from their table and so before any feature is computed."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config.options import ExtractOptions
from m3ray.datasets.given_splits import read_given_splits
from m3ray.datasets.groups import choose_group
from m3ray.datasets.identity import video_keys
from m3ray.datasets.listing import Listing
from m3ray.datasets.splits import split_clips
from m3ray.errors import ConfigError, StudyError
from m3ray.features.target import SCORE
from m3ray.schema import CATALOGUE, SIMILARITY
from m3ray.similarity import MEASURES
from m3ray.storage.root import Root
from m3ray.tiers.user import UserTier

_MIN_SCORED = 2  # in train and in val, as a study's own check has it
_MAX_DRAWN = 50_000  # clips whose splits are drawn once more before Ray starts


def check_has_scores(listing: Listing | None) -> None:
    """Check that a clip has a score.

    Args:
        listing: The clips; None: the demo's, which have scores.
    Raises:
        StudyError: If none has.
    """
    if listing is not None and not _select_scored(listing.table, SCORE).num_rows:
        raise StudyError(
            f"none of the {listing.table.num_rows} clips has a score, and training needs some: give a table with "
            f"columns uri and score{_format_own_columns(listing.table)} (--dataset table --root clips.csv), or compute "
            "features alone with jobs/extract.py"
        )


def check_listed_scores(
    root: Root, listing: Listing | None, options: ExtractOptions, tiers: Sequence[UserTier], target: str = SCORE
) -> None:
    """Check that listed clips have the scores that training needs, in the splits that they will have.

    Args:
        root: Root of the job; nothing is written to it.
        listing: The clips; None: the demo's, which have scores.
        options: Options of the job.
        tiers: User-provided tiers that were given with it.
        target: Column that is to be predicted.
    Raises:
        StudyError: If too few clips of train or val have a score, or all of one split have the same one.
    """
    if listing is None:
        return
    clips = listing.table
    check_enough_scores(clips, target)
    if clips["split"].null_count and clips.num_rows <= _MAX_DRAWN:
        keys, homes = video_keys(clips["uri"]), (options.root, options.videos, root.uri)
        column = choose_group(options.group, clips.column_names).column
        clips = split_clips(clips, read_given_splits(root), options.seed, keys, homes=homes, group=column)
        check_enough_scores(clips, target)
    seen = [tier for tier in tiers if tier.name in options.tiers]
    for tier in seen:
        clips = clips.filter(pc.is_in(clips["clip_id"], value_set=pa.array(tier.ids, clips["clip_id"].type)))
    if seen:
        check_enough_scores(clips, target, have="and their tiers")


def check_enough_scores(clips: pa.Table, target: str = SCORE, have: str = "") -> None:
    """Check that the scores suffice for training, whatever becomes of their clips' features.

    Args:
        clips: The clips with their splits, null where one is to be drawn. Where no clip has a score, features alone are
            wanted, and that passes.
        target: Column that is to be predicted.
        have: What else these clips have, for the message.
    Raises:
        StudyError: If too few clips have a score, or all scores are one, of all clips or of a split.
    """
    if (scored := _select_scored(clips, target)).num_rows:
        _check_counts(scored, " ".join([_name_value(target), *have.split()]))
        _check_spread(scored, target)


def check_labels(listing: Listing | None, measure: str | None, tiers: Sequence[str]) -> None:
    """Check that clips have labels where a model is to see a similarity measure that needs them.

    Args:
        listing: The clips; None: the demo's, which have labels.
        measure: Name of the measure; None: the preset's, which needs none.
        tiers: Names of the tiers that the model sees.
    Raises:
        ConfigError: If it needs labels, and there are none.
    """
    if listing is None or measure is None or SIMILARITY not in tiers:
        return
    has_labels = pc.any(pc.greater(pc.list_value_length(listing.table["labels"]), 0)).as_py()
    if not has_labels and MEASURES[measure].needs_labels:
        raise ConfigError(
            f"--measure {measure} needs labels, and no clip has any: choose another measure, or give a column labels"
        )


def _name_value(target: str) -> str:
    return "a score" if target == SCORE else f"a value of {target}"


def _select_scored(clips: pa.Table, target: str) -> pa.Table:
    """The clips with a finite value: an infinite d' is undefined."""
    return clips.filter(pc.fill_null(pc.is_finite(clips[target].cast(pa.float64())), False))


def _format_own_columns(table: pa.Table) -> str:
    """The user's own columns, one of which may hold the scores."""
    own = [name for name in table.column_names if name not in CATALOGUE.names]
    return f"; this one has {', '.join(own)}" if own else ""


def _check_counts(scored: pa.Table, what: str) -> None:
    counts = {split: pc.sum(pc.equal(scored["split"], split)).as_py() or 0 for split in ("train", "val")}
    has_split = not scored["split"].null_count
    if scored.num_rows < 2 * _MIN_SCORED or (has_split and min(counts.values()) < _MIN_SCORED):
        where = f", {counts['train']} of them train and {counts['val']} val" if has_split else ""
        raise StudyError(
            f"{scored.num_rows} clips have {what}{where}: training needs at least {_MIN_SCORED} in train and "
            f"{_MIN_SCORED} in val: give more scores; for a split give rows of split val, or leave the column split "
            "out, which draws it (with another --out, as a root keeps the splits that it has)"
        )


def _check_spread(scored: pa.Table, target: str) -> None:
    what = "scores" if target == SCORE else f"values of {target}"
    if (value := _find_only_value(scored[target])) is not None:
        raise StudyError(f"all {scored.num_rows} {what} are {value:g}: there is nothing to learn from them")
    for split in ("train", "val"):
        values = scored.filter(pc.fill_null(pc.equal(scored["split"], split), False))[target]
        if len(values) >= _MIN_SCORED and (value := _find_only_value(values)) is not None:
            raise StudyError(
                f"all {len(values)} {split} {what} are {value:g}: their rank correlation is undefined: give others, or "
                "leave the column split out, which draws it"
            )


def _find_only_value(values: pa.ChunkedArray) -> float | None:
    """The value that all have; None where two differ."""
    span = pc.min_max(values)
    return span["min"].as_py() if span["min"].as_py() == span["max"].as_py() else None
