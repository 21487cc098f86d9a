"""Reading of a user's Parquet file, without the row numbers that pandas adds."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from m3ray.errors import SchemaError
from m3ray.schema import CATALOGUE, LEARNED_KEY
from m3ray.storage.columns import Sheet, check_names
from m3ray.storage.pickled_columns import find_pickled_columns

_NAMELESS = re.compile(r"__index_level_\d+__")


def read_parquet(data: bytes, where: str, ours: Sequence[str] = tuple(CATALOGUE.names)) -> Sheet:
    """Read the columns of a Parquet file, names trimmed, without pandas' index and without m3ray's video metadata.

    Args:
        data: bytes of the file.
        where: the file, for messages.
        ours: names that m3ray reads; an index of one of these names counts as that column.
    Returns:
        The columns.
    Raises:
        SchemaError: If it is no Parquet file, has a pickled column, or repeats a name.
    """
    try:
        table = pq.read_table(pa.BufferReader(data))
        if pickled := find_pickled_columns(table.schema):
            raise ValueError(
                f"reading the values of {', '.join(pickled)} would run code (pickles): leave that column out"
            )
        index = _find_index(table.schema, ours)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise SchemaError(f"{where} cannot be read: {' '.join(str(error).split())}") from error
    table = table.rename_columns([name.strip() for name in table.column_names]).replace_schema_metadata(None)
    check_names(table.column_names, where, ours=())
    learned = [field.name for field in table.schema if LEARNED_KEY in (field.metadata or {})]
    notes = [
        f"{what} ({', '.join(names)}) left out"
        for what, names in (("pandas' index", index), ("what an earlier job's decoding learned", learned))
        if names
    ]
    table = table.drop_columns([*index, *learned])
    return Sheet(table, np.arange(1, table.num_rows + 1), notes=tuple(notes))


def _find_index(schema: pa.Schema, ours: Sequence[str]) -> list[str]:
    """Find the columns of pandas' index by the file's metadata, and unnamed ones by the name that pandas gives."""
    listed = (schema.pandas_metadata or {}).get("index_columns", ())
    index = {name for name in listed if isinstance(name, str)}
    names = (name for name in schema.names if name in index or _NAMELESS.fullmatch(name))
    return [name for name in (name.strip() for name in names) if name not in ours]
