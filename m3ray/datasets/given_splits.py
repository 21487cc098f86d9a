"""The splits that a root has given: those of clips that the catalogue lacks today (`--limit`) are kept aside."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.schema import CATALOGUE_FILE
from m3ray.storage.root import Root

NAME = ("artifacts", "splits.parquet")
_GIVEN = pa.schema([("clip_id", pa.string()), ("uri", pa.string()), ("split", pa.string())])


def given_splits(root: Root) -> pa.Table | None:
    """`clip_id, uri, split` of every clip that ever had one here; None where none had.

    Args:
        root: holds them; those of its catalogue come first.
    """
    found = [
        root.read_table(*place, columns=_GIVEN.names).cast(_GIVEN)
        for place in ((CATALOGUE_FILE,), NAME)
        if root.exists(*place)
    ]
    if not found:
        return None
    first, *others = found
    return pa.concat_tables([first, *(_without(table, first) for table in others)])


def keep_absent(root: Root, clips: pa.Table) -> None:
    """Keeps the splits of all clips where a new catalogue lacks some, before it is written.

    Args:
        root: gets them.
        clips: the new catalogue.
    """
    given = given_splits(root)
    if given is not None and _without(given, clips).num_rows:
        root.write_table(given, *NAME)


def _without(table: pa.Table, others: pa.Table) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table["clip_id"], value_set=others["clip_id"].cast(pa.string()))))
