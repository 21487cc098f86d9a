"""Near duplicates of a catalogue as `artifacts/duplicates.parquet` has them, and which splits they stand in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.datasets.groups import choose_group, join_numbers, number_groups
from m3ray.schema import SPLITS
from m3ray.storage.root import Root

DUPLICATES_FILE = ("artifacts", "duplicates.parquet")
DUPLICATES_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("group", pa.int64()),
        ("kind", pa.string()),  # content: the same bytes or the same pictures; vectors: all but the same vectors
        ("similarity", pa.float32()),  # cosine to `nearest`; 1 for the same content
        ("nearest", pa.string()),
    ]
)


def read_duplicates(root: Root) -> pa.Table:
    """Read the near duplicates that the last extraction found.

    Args:
        root: Root of a job.
    Returns:
        A row a clip that has any, as `DUPLICATES_SCHEMA`; none where nothing was looked for.
    """
    if not root.exists(*DUPLICATES_FILE):
        return DUPLICATES_SCHEMA.empty_table()
    return root.read_table(*DUPLICATES_FILE).select(DUPLICATES_SCHEMA.names).cast(DUPLICATES_SCHEMA)


def number_duplicates(duplicates: pa.Table, ids: pa.ChunkedArray) -> np.ndarray:
    """Number clips so that near duplicates share a number.

    Args:
        duplicates: Table of `read_duplicates`.
        ids: Ids of N clips.
    Returns:
        Numbers from 0, (N,), int64; a clip without duplicates has one of its own.
    """
    known = duplicates["clip_id"].combine_chunks()
    groups = duplicates["group"].take(pc.index_in(ids.cast(pa.string()), value_set=known))
    return number_groups(groups)


def number_sources(root: Root | None, clips: pa.Table, group: str | None) -> np.ndarray | None:
    """Number clips so that those that `--group` keeps together share a number.

    Args:
        root: Root that has the near duplicates; None: none does, and they are not asked for.
        clips: Clips with `clip_id` and the column that may be asked for.
        group: Value of `--group`.
    Returns:
        Numbers from 0, (N,), int64; None where nothing is kept together.
    """
    choice = choose_group(group, clips.column_names)
    parts = [] if choice.column is None else [number_groups(clips[choice.column])]
    if choice.duplicates and root is not None:
        parts.append(number_duplicates(read_duplicates(root), clips["clip_id"]))
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else join_numbers(*parts)


@dataclass(frozen=True)
class DuplicateSides:
    """Where near duplicates stand.

    Args:
        clips: Number of clips that have any.
        groups: Number of their groups.
        largest: Clips of the largest group.
        divided: Groups that stand in more than one split.
        seen: Clips of val and test, by split, with a near duplicate in train.
    """

    clips: int
    groups: int
    largest: int
    divided: int
    seen: dict[str, int]


def find_sides(duplicates: pa.Table, clips: pa.Table) -> DuplicateSides:
    """Find which splits near duplicates stand in.

    Args:
        duplicates: Table of `read_duplicates`.
        clips: `clip_id` and `split` of the clips that count, such as those with a score.
    Returns:
        The counts; a group of which fewer than two clips count is none.
    """
    rows = pc.index_in(clips["clip_id"].cast(pa.string()), value_set=duplicates["clip_id"].combine_chunks())
    split = pc.index_in(clips["split"].filter(pc.is_valid(rows)), pa.array(SPLITS))
    groups = duplicates["group"].take(rows.drop_null()).to_numpy()
    groups, split = groups[pc.is_valid(split).to_numpy()], pc.drop_null(split).to_numpy()
    counts = np.zeros((int(groups.max(initial=-1)) + 1, len(SPLITS)), np.int64)
    np.add.at(counts, (groups, split), 1)
    counts = counts[counts.sum(axis=1) > 1]
    sizes, in_train = counts.sum(axis=1), counts[:, 0] > 0
    seen = {name: int(counts[in_train, k].sum()) for k, name in enumerate(SPLITS) if k}
    divided = int(((counts > 0).sum(axis=1) > 1).sum())
    return DuplicateSides(int(sizes.sum()), len(sizes), int(sizes.max(initial=0)), divided, seen)


def describe_duplicates(sides: DuplicateSides) -> str:
    """Say in a line how many near duplicates there are, and where they stand.

    Args:
        sides: Counts of `find_sides`.
    Returns:
        A line for a log.
    """
    if not sides.groups:
        return "duplicates: none found"
    groups = f"{sides.groups} group{'s' if sides.groups > 1 else ''}"
    line = f"duplicates: {sides.clips} clips in {groups}, the largest of {sides.largest}"
    if not sides.divided:
        return f"{line}; each on one side of the split"
    stand = "group stands" if sides.divided == 1 else "groups stand"
    return f"{line}; {sides.divided} {stand} on two sides of the split{_name_seen(sides)}"


def _name_seen(sides: DuplicateSides) -> str:
    seen = {split: count for split, count in sides.seen.items() if count}
    have = "clip has" if sum(seen.values()) == 1 else "clips have"
    return f": {' and '.join(f'{n} {split}' for split, n in seen.items())} {have} one in train" if seen else ""


def caution_duplicates(sides: DuplicateSides) -> list[str]:
    """Warn of near duplicates on both sides of the split.

    Args:
        sides: Counts of `find_sides` over the clips that metrics are measured on.
    Returns:
        One sentence or none.
    """
    seen = {split: count for split, count in sides.seen.items() if count}
    if not seen:
        return []
    clips = " and ".join(f"{count:,} {split}" for split, count in seen.items())
    show = "clip with a score shows" if sum(seen.values()) == 1 else "clips with a score show"
    groups = "1 group" if sides.divided == 1 else f"{sides.divided} groups"
    return [
        f"{clips} {show} all but the same as a train clip ({groups} of near duplicates on two sides): a model knows "
        "their scores, and looks better than it is on other clips. Extract with --group duplicates, which draws the "
        "splits by them; a split that the data set gives stays: leave the column split out, or drop these clips."
    ]
