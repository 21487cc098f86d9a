"""Parquet columns whose values a library would make by running code: not read from files that others may have written.

Ray registers such a type with Arrow when `ray.data` is imported: its values are pickles, and a plain `to_pylist` or
`to_pandas` loads them.
"""

from __future__ import annotations

import pyarrow as pa

_HARMLESS = ("pandas.",)  # period and interval: their values are numbers


def coded_columns(schema: pa.Schema) -> list[str]:
    """The columns of a type, or holding one, that is defined in Python and not in Arrow."""
    return [field.name for field in schema if _is_coded(field.type)]


def _is_coded(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.ExtensionType):
        return not kind.extension_name.startswith(_HARMLESS)
    if pa.types.is_dictionary(kind):
        return _is_coded(kind.value_type)
    return any(_is_coded(kind.field(k).type) for k in range(kind.num_fields))
