"""From Arrow columns of numbers and vectors to NumPy arrays."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def column_values(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Values of a column as an array.

    Args:
        column: Numbers, or vectors of one width as lists, of N rows.
    Returns:
        (N,) of numbers, (N, width) of vectors; objects where a vector is null, which no numeric type can hold.
    Raises:
        ValueError: If vectors have different widths.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not is_vector(array.type) or array.null_count:
        return array.to_numpy(zero_copy_only=False)
    width = array.type.list_size if pa.types.is_fixed_size_list(array.type) else -1
    return array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), width if len(array) else max(width, 0))


def is_vector(kind: pa.DataType) -> bool:
    """Whether a column of this type holds vectors.

    Args:
        kind: Arrow type of the column.
    """
    return any(test(kind) for test in (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list))
