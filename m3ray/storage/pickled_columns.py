"""Parquet columns whose values are pickles, which run code when they are loaded: rejected in files others may write.

Ray registers such a type with Arrow when `ray.data` is imported: its values are pickles, and a plain `to_pylist` or
`to_pandas` loads them.
"""

from __future__ import annotations

import pyarrow as pa

_HARMLESS = ("pandas.",)  # period and interval: their values are numbers


def find_pickled_columns(schema: pa.Schema) -> list[str]:
    """Find the columns whose type, or a type within it, is defined in Python and not in Arrow.

    Args:
        schema: schema of a file.
    Returns:
        Names of the columns.
    """
    return [field.name for field in schema if _is_pickled(field.type)]


def _is_pickled(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.ExtensionType):
        return not kind.extension_name.startswith(_HARMLESS)
    if pa.types.is_dictionary(kind):
        return _is_pickled(kind.value_type)
    return any(_is_pickled(kind.field(k).type) for k in range(kind.num_fields))
