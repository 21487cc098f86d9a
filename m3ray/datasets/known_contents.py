"""What rows are known to be computed from where they do not say so themselves, or say less than was learned since.

Rows of an older version name no content, and one that was computed under `--identity fast` has no hash. What such a row
was taken for, when it was first looked at, stands in `artifacts/contents.parquet`; later changes are told from that.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.datasets.clip_contents import has_contents
from m3ray.schema import CATALOGUE_FILE, CONTENT
from m3ray.storage.contents import same, stamps, strong, unseen
from m3ray.storage.root import Root

NAME = ("artifacts", "contents.parquet")
_FIRST = "first"
_KNOWN = pa.schema([("clip_id", pa.string()), (CONTENT, pa.large_string()), (_FIRST, pa.large_string())])


def known_contents(root: Root, homes: Mapping[str, str]) -> pa.Table:
    """`clip_id, content, first`, a row a clip: what was noted, and what an older version's catalogue tells: the place.

    `first` is what a clip was noted as at first: a row may be known by that though its clip was touched or moved since.

    Args:
        root: holds them.
        homes: the data set's folders to the paths that they are known by.
    """
    noted = root.read_table(*NAME).cast(_KNOWN) if root.exists(*NAME) else _KNOWN.empty_table()
    older = _of_older_catalogue(root, homes)
    fresh = older.filter(pc.invert(pc.is_in(older["clip_id"], value_set=noted["clip_id"])))
    return pa.concat_tables([noted, fresh])


def keep_older(root: Root, homes: Mapping[str, str]) -> None:
    """Notes what the catalogue of an older version tells of its clips, before it is written over."""
    if _of_older_catalogue(root, homes).num_rows:
        root.write_table(known_contents(root, homes), *NAME)


def note_contents(root: Root, known: pa.Table, noted: pa.Table) -> None:
    """Adds to what is known of clips, or replaces it.

    Args:
        root: keeps it.
        known: of `known_contents`.
        noted: `clip_id, content`.
    """
    if noted.num_rows:
        before = known.take(pc.index_in(noted["clip_id"], value_set=known["clip_id"]))
        now = noted[CONTENT].cast(pa.large_string())
        goes_on = pa.array(same(now, before[CONTENT]) & ~unseen(before[_FIRST]).to_numpy())
        first = pc.if_else(goes_on, pc.coalesce(before[_FIRST], now), now)
        others = known.filter(pc.invert(pc.is_in(known["clip_id"], value_set=noted["clip_id"])))
        rows = pa.table([noted["clip_id"].cast(pa.string()), now, first], schema=_KNOWN)
        root.write_table(pa.concat_tables([others, rows]), *NAME)


def resolved(rows: pa.Table, known: pa.Table | None) -> pa.Table:
    """Rows with the contents that are known, where they have none or one that is the same.

    Args:
        rows: `clip_id`, `content`.
        known: of `known_contents`; None: nothing is.
    """
    if known is None or not known.num_rows or not rows.num_rows:
        return rows
    of_rows = known.take(pc.index_in(rows["clip_id"], value_set=known["clip_id"]))
    told, first = of_rows[CONTENT], of_rows[_FIRST]
    alike = same(rows[CONTENT], told) | (same(rows[CONTENT], first) & pc.is_valid(first).to_numpy())
    better = pa.array(alike & pc.is_valid(told).to_numpy())
    return rows.set_column(rows.column_names.index(CONTENT), CONTENT, pc.if_else(better, told, rows[CONTENT]))


def worth_noting(now: pa.ChunkedArray, then: pa.ChunkedArray) -> np.ndarray:
    """Whether each stamp tells more of the same content, or tells it of today, than the one there was; bool, (rows,).

    Args:
        now: stamps.
        then: as many; null where nothing was known.
    """
    differs = pc.not_equal(now.cast(pa.large_string()), then.cast(pa.large_string()))
    worth = (pc.is_valid(now).to_numpy() & pc.fill_null(differs, True).to_numpy()).copy()
    rows = np.flatnonzero(worth)  # of a million clips, few
    if len(rows):
        now, then = now.take(rows), then.take(rows)
        weaker = pc.is_null(strong(now)).to_numpy() & pc.is_valid(strong(then)).to_numpy()
        worth[rows] = pc.is_null(then).to_numpy() | ~(weaker | unseen(now).to_numpy())
    return worth


def _of_older_catalogue(root: Root, homes: Mapping[str, str]) -> pa.Table:
    if not root.exists(CATALOGUE_FILE):
        return _KNOWN.empty_table()
    schema = root.read_schema(CATALOGUE_FILE)
    if has_contents(schema) or "uri" not in schema.names:
        return _KNOWN.empty_table()
    clips = root.read_table(CATALOGUE_FILE, columns=["clip_id", "uri"])
    nothing = pa.chunked_array([pa.nulls(clips.num_rows, pa.string())])
    places = stamps(nothing, clips["uri"], root.uri, homes)
    return pa.table([clips["clip_id"].cast(pa.string()), places, places], schema=_KNOWN)
