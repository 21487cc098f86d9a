"""What features were computed from, where their rows do not say so or say less than was learned since.

Rows of an older version name no content, and one that was computed under `--identity fast` has no hash. What such a row
was taken for, when it was first looked at, stands in `artifacts/contents.parquet`; later changes are told from that.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.datasets.clip_contents import has_contents
from m3ray.schema import CONTENT
from m3ray.storage.catalogue_file import has_catalogue, read_catalogue, read_catalogue_schema
from m3ray.storage.contents import content_hashes, is_same_content, is_unknown_content, make_stamps
from m3ray.storage.root import Root

NAME = ("artifacts", "contents.parquet")
_FIRST = "first"
_SCHEMA = pa.schema([("clip_id", pa.string()), (CONTENT, pa.large_string()), (_FIRST, pa.large_string())])


def read_known_contents(root: Root, homes: Mapping[str, str]) -> pa.Table:
    """Read what is known of clips: what was noted, and of an older version's catalogue the paths.

    Args:
        root: root that holds both.
        homes: the data set's folders to the paths that they are known by.
    Returns:
        `clip_id, content, first`, one row a clip. `first` is the stamp that was noted first: a row of features may be
        known by that one though its clip was touched or moved since.
    """
    noted = root.read_table(*NAME).cast(_SCHEMA) if root.exists(*NAME) else _SCHEMA.empty_table()
    older = _read_older_catalogue(root, homes)
    fresh = older.filter(pc.invert(pc.is_in(older["clip_id"], value_set=noted["clip_id"])))
    return pa.concat_tables([noted, fresh])


def keep_older_contents(root: Root, homes: Mapping[str, str]) -> None:
    """Note what the catalogue of an older version tells of its clips, before it is written over.

    Args:
        root: root that holds the catalogue and gets the note.
        homes: the data set's folders to the paths that they are known by.
    """
    if _read_older_catalogue(root, homes).num_rows:
        root.write_table(read_known_contents(root, homes), *NAME)


def note_contents(root: Root, known: pa.Table, noted: pa.Table) -> None:
    """Add to what is known of clips, or replace it.

    Args:
        root: root that keeps the note.
        known: what is known so far, from `read_known_contents`.
        noted: `clip_id, content` of the clips to add or replace.
    """
    if noted.num_rows:
        before = known.take(pc.index_in(noted["clip_id"], value_set=known["clip_id"]))
        now = noted[CONTENT].cast(pa.large_string())
        same_as_before = pa.array(
            is_same_content(now, before[CONTENT]) & ~is_unknown_content(before[_FIRST]).to_numpy()
        )
        first = pc.if_else(same_as_before, pc.coalesce(before[_FIRST], now), now)
        others = known.filter(pc.invert(pc.is_in(known["clip_id"], value_set=noted["clip_id"])))
        rows = pa.table([noted["clip_id"].cast(pa.string()), now, first], schema=_SCHEMA)
        root.write_table(pa.concat_tables([others, rows]), *NAME)


def resolve_contents(rows: pa.Table, known: pa.Table | None) -> pa.Table:
    """Replace the contents of rows by what is known of their clips, where they have none or the same one.

    Args:
        rows: `clip_id`, `content`, and any further columns.
        known: what is known, from `read_known_contents`; None: nothing is.
    Returns:
        The rows, their contents as exact as they are known.
    """
    if known is None or not known.num_rows or not rows.num_rows:
        return rows
    of_rows = known.take(pc.index_in(rows["clip_id"], value_set=known["clip_id"]))
    latest, first = of_rows[CONTENT], of_rows[_FIRST]
    same_as_first = is_same_content(rows[CONTENT], first) & pc.is_valid(first).to_numpy()
    alike = is_same_content(rows[CONTENT], latest) | same_as_first
    better = pa.array(alike & pc.is_valid(latest).to_numpy())
    return rows.set_column(rows.column_names.index(CONTENT), CONTENT, pc.if_else(better, latest, rows[CONTENT]))


def is_worth_noting(now: pa.ChunkedArray, then: pa.ChunkedArray) -> np.ndarray:
    """Tell which stamps say more of the same content than the ones noted before, or say it of today.

    Args:
        now: stamps of clips as they are now.
        then: stamps that were noted of the same clips; null where nothing was.
    Returns:
        Bool, one a clip.
    """
    differs = pc.not_equal(now.cast(pa.large_string()), then.cast(pa.large_string()))
    worth = (pc.is_valid(now).to_numpy() & pc.fill_null(differs, True).to_numpy()).copy()
    rows = np.flatnonzero(worth)  # of a million clips, few
    if len(rows):
        now, then = now.take(rows), then.take(rows)
        weaker = pc.is_null(content_hashes(now)).to_numpy() & pc.is_valid(content_hashes(then)).to_numpy()
        worth[rows] = pc.is_null(then).to_numpy() | ~(weaker | is_unknown_content(now).to_numpy())
    return worth


def _read_older_catalogue(root: Root, homes: Mapping[str, str]) -> pa.Table:
    if not has_catalogue(root):
        return _SCHEMA.empty_table()
    schema = read_catalogue_schema(root)
    if has_contents(schema) or "uri" not in schema.names:
        return _SCHEMA.empty_table()
    clips = read_catalogue(root, ["clip_id", "uri"])
    nothing = pa.chunked_array([pa.nulls(clips.num_rows, pa.string())])
    places = make_stamps(nothing, clips["uri"], root.uri, homes)
    return pa.table([clips["clip_id"].cast(pa.string()), places, places], schema=_SCHEMA)
