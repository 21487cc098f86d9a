"""The splits that a root has given: those of clips that the catalogue lacks today (`--limit`) are kept aside."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.storage.catalogue_file import has_catalogue, read_catalogue
from m3ray.storage.root import Root

NAME = ("artifacts", "splits.parquet")
_SCHEMA = pa.schema([("clip_id", pa.string()), ("uri", pa.string()), ("split", pa.string())])


def read_given_splits(root: Root) -> pa.Table | None:
    """Read the split of every clip that ever had one in a root.

    Args:
        root: root whose catalogue comes first, and then what `keep_absent_splits` kept aside.
    Returns:
        `clip_id, uri, split`, one row a clip; None where no clip had one.
    """
    tables = [read_catalogue(root, _SCHEMA.names)] if has_catalogue(root) else []
    tables += [root.read_table(*NAME, columns=_SCHEMA.names)] if root.exists(*NAME) else []
    if not tables:
        return None
    first, *others = (table.cast(_SCHEMA) for table in tables)
    return pa.concat_tables([first, *(_drop_clips(table, first) for table in others)])


def keep_absent_splits(root: Root, clips: pa.Table) -> None:
    """Keep the splits of all clips aside where a new catalogue lacks some; called before it is written.

    Args:
        root: root that gets the file.
        clips: the new catalogue.
    """
    given = read_given_splits(root)
    if given is not None and _drop_clips(given, clips).num_rows:
        root.write_table(given, *NAME)


def _drop_clips(table: pa.Table, dropped: pa.Table) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table["clip_id"], value_set=dropped["clip_id"].cast(pa.string()))))
