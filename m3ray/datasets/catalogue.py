"""The catalogue of a root: made from checked clips, and completed with what decoding learned of them.

Everything goes column by column, so that millions of rows fit in memory.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.datasets.clip_checks import check_leaks
from m3ray.datasets.clip_contents import add_contents, is_content_column, read_canonical_folders
from m3ray.datasets.duplicates import number_duplicates, read_duplicates
from m3ray.datasets.given_splits import keep_absent_splits, read_given_splits
from m3ray.datasets.groups import choose_group
from m3ray.datasets.identity import video_keys
from m3ray.datasets.known_contents import keep_older_contents
from m3ray.datasets.splits import split_clips
from m3ray.datasets.unsettled_splits import note_unsettled, read_settled_splits
from m3ray.schema import CATALOGUE_FILE, LEARNED_KEY, feature_names
from m3ray.storage.dataset_folders import UNKNOWN_ORIGIN, DatasetOrigin
from m3ray.storage.root import Root

# Columns that tell a decoded catalogue of an older version, which did not mark what decoding learned.
_OLDER_COLUMNS = {"native_fps", "sampled", "video_bytes", "decoder"}


def make_catalogue(
    root: Root,
    clips: pa.Table,
    seed: int,
    videos: pa.ChunkedArray | None = None,
    origin: DatasetOrigin = UNKNOWN_ORIGIN,
    group: str | None = None,
) -> pa.Table:
    """Split the clips and look up what each one's file is now; splits drawn earlier stay.

    Args:
        root: root that may hold an earlier catalogue; nothing is written to it.
        clips: the catalogue's columns, as `check_clips` lets them pass.
        seed: seed that missing splits are drawn with.
        videos: which video each row is, from `video_keys`; None compares paths.
        origin: where the data set lies, on which splits do not depend, and by what its clips are known.
        group: column whose clips of one value a drawn split keeps on one side; None: each video on its own.
    Returns:
        The clips with a split each and the column `content`.
    Raises:
        SchemaError: If clips are known by their bytes, and files with the same bytes stand in two splits.
    """
    keys = video_keys(clips["uri"]) if videos is None else videos
    if origin.by == "hash":  # by their paths they were compared when they were listed
        check_leaks(clips, keys)
    split = _split(root, clips, read_given_splits(root), seed, keys, origin, group)
    return add_contents(split, root, origin)


def _split(
    root: Root,
    clips: pa.Table,
    earlier: pa.Table | None,
    seed: int,
    videos: pa.ChunkedArray,
    origin: DatasetOrigin,
    group: str | None,
) -> pa.Table:
    """Draw the splits of clips that have none, those that `group` keeps together as one."""
    choice, homes = choose_group(group, clips.column_names), (*origin.folders, root.uri)
    together = number_duplicates(read_duplicates(root), clips["clip_id"]) if choice.duplicates else None
    return split_clips(clips, earlier, seed, videos, homes=homes, group=choice.column, together=together)


def redraw_splits(
    root: Root,
    catalogue: pa.Table,
    given: pa.ChunkedArray,
    seed: int,
    videos: pa.ChunkedArray,
    origin: DatasetOrigin,
    group: str | None,
) -> pa.Table:
    """Draw the splits once more, now that near duplicates are known; nothing is written.

    Args:
        root: root that holds the catalogue and the near duplicates.
        catalogue: its catalogue, with what decoding learned.
        given: the split that the data set gives each clip, null where it gives none; these stay.
        seed: seed that missing splits are drawn with.
        videos: which video each row is, from `video_keys`.
        origin: where the data set lies.
        group: what `--group` asks for.
    Returns:
        The catalogue. A split that a finished job gave stays, unless a near duplicate of the clip is in train.
    """
    listed = catalogue.set_column(catalogue.column_names.index("split"), "split", given)
    return _split(root, listed, read_settled_splits(root), seed, videos, origin, group)


def write_catalogue(
    root: Root,
    clips: pa.Table,
    seed: int,
    videos: pa.ChunkedArray | None = None,
    origin: DatasetOrigin = UNKNOWN_ORIGIN,
    group: str | None = None,
) -> pa.Table:
    """Make the catalogue and write it; what only the one before told of splits and contents is kept aside first.

    Args:
        root: root that gets the catalogue.
        clips: the catalogue's columns, as `check_clips` lets them pass.
        seed: seed that missing splits are drawn with.
        videos: which video each row is, from `video_keys`; None compares paths.
        origin: where the data set lies, and by what its clips are known.
        group: column whose clips of one value a drawn split keeps on one side; None: each video on its own.
    Returns:
        The catalogue that was written.
    Raises:
        SchemaError: If clips are known by their bytes, and files with the same bytes stand in two splits.
    """
    table = make_catalogue(root, clips, seed, videos, origin, group)
    keep_older_contents(root, read_canonical_folders(table.schema))
    if choose_group(group, clips.column_names).duplicates:
        note_unsettled(root, table)
    keep_absent_splits(root, table)
    root.write_table(table, CATALOGUE_FILE)
    return table


def add_video_metadata(table: pa.Table, metadata: pa.Table | None) -> pa.Table:
    """Add what decoding learned of each clip to the catalogue, null where a clip was rejected.

    A column of the user's keeps its name: beside their `duration`, decoding's is `decoded_duration`. What an earlier
    call added is replaced.

    Args:
        table: the catalogue.
        metadata: one decoded clip a row, with the columns of `m3ray.schema.VIDEO_METADATA`; None: nothing was decoded.
    Returns:
        The catalogue with a column for each of them, marked with which one it is.
    """
    if metadata is None:
        return table
    earlier = [c.name for c in table.schema if LEARNED_KEY in (c.metadata or {}) and not is_content_column(c)]
    table = table.drop_columns(earlier)
    positions = pc.index_in(table["clip_id"], metadata["clip_id"])
    for name in feature_names(metadata.schema):
        shown = name
        while shown in table.column_names:
            shown = f"decoded_{shown}"
        column = pa.field(shown, metadata[name].type, metadata={LEARNED_KEY: name.encode()})
        table = table.append_column(column, metadata[name].take(positions))
    return table


def metadata_column(catalogue: pa.Table, name: str) -> pa.ChunkedArray | None:
    """Find what decoding learned of each clip, whatever its column is called.

    Args:
        catalogue: from `add_video_metadata`, or of a root older than the marks on its columns.
        name: column of `m3ray.schema.VIDEO_METADATA`.
    Returns:
        One value a clip; None where nothing was decoded.
    """
    marked = [column.name for column in catalogue.schema if (column.metadata or {}).get(LEARNED_KEY) == name.encode()]
    is_older = set(catalogue.column_names) >= _OLDER_COLUMNS and name in catalogue.column_names
    return next((catalogue[column] for column in (*marked, *([name] if is_older else []))), None)
