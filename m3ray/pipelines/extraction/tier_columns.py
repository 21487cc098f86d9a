"""Columns of a tier on their way from the tier actor to the writer: one float64 array a clip, as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from m3ray.pipelines.extraction.records import ComputedClip
from m3ray.tiers import Tier


def pack_values(row: ComputedClip, tier: Tier) -> bytes | None:
    """Pack the columns of a tier into one float64 array, in the order of the tier's schema.

    Args:
        row: A computed clip.
        tier: The tier.
    Returns:
        The array's bytes; None if the tier was not computed.
    """
    if tier.name not in row.values:
        return None
    values = row.values[tier.name]
    columns = [np.atleast_1d(values[name]).astype(np.float64) for name in tier.schema.names[1:]]
    return np.concatenate(columns).tobytes()


@dataclass(frozen=True)
class TierColumns:
    """Columns of a tier, all that the writer needs to know of it.

    Args:
        name: Name of the tier.
        schema: `clip_id` and the tier's columns.
    """

    name: str
    schema: pa.Schema

    def unpack(self, ids: Sequence[str], data: Sequence[bytes]) -> pa.Table:
        """Unpack rows of the tier into a table of its own column types.

        Args:
            ids: Clip ids.
            data: Bytes from `pack_values`, one of each clip.
        Returns:
            A row a clip.
        """
        matrix = np.stack([np.frombuffer(row, np.float64) for row in data])
        arrays: list[pa.Array] = [pa.array(ids, pa.string())]
        start = 0
        for column in list(self.schema)[1:]:
            width = column.type.list_size if pa.types.is_fixed_size_list(column.type) else 1
            arrays.append(_as_array(matrix[:, start : start + width], column.type))
            start += width
        return pa.Table.from_arrays(arrays, schema=self.schema)


def _as_array(block: np.ndarray, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(block[:, 0], kind)
    return pa.FixedSizeListArray.from_arrays(pa.array(block.astype(np.float32).ravel()), type=kind)
