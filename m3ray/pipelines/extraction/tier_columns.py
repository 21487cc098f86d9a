"""Columns of a tier on their way from the tier actor to the writer: one float64 array a clip or window, as bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from m3ray.pipelines.extraction.records import ComputedClip
from m3ray.tiers import Tier, WindowFeatures
from m3ray.tiers.base import WeightedValue


def pack_values(row: ComputedClip, tier: Tier) -> bytes | None:
    """Pack the columns of a tier into one float64 array, in the order of the tier's schema.

    Args:
        row: A computed clip, or a part of one.
        tier: The tier.
    Returns:
        The array's bytes, of a part those of `pack_window`; None if the tier was not computed.
    """
    if tier.name in row.windows:
        return pack_window(row.windows[tier.name], tier.schema)
    return _pack(row.values[tier.name], tier.schema) if tier.name in row.values else None


def _pack(values: Mapping[str, np.ndarray], schema: pa.Schema) -> bytes:
    return np.concatenate([np.atleast_1d(values[name]).astype(np.float64) for name in schema.names[1:]]).tobytes()


def pack_window(features: WindowFeatures, schema: pa.Schema) -> bytes:
    """Pack what a tier found in one window of a clip: the weight of each column, then the numbers of all, float64.

    Args:
        features: Columns of the window; none if it adds nothing to its clip.
        schema: `clip_id` and the tier's columns.
    Returns:
        The array's bytes; empty if there are no columns.
    """
    if not features:
        return b""
    weights = np.array([features[name].weight for name in schema.names[1:]], np.float64)
    return weights.tobytes() + _pack({name: features[name].value for name in schema.names[1:]}, schema)


@dataclass(frozen=True)
class TierColumns:
    """Columns of a tier, all that the writer needs to know of it.

    Args:
        name: Name of the tier.
        schema: `clip_id` and the tier's columns.
    """

    name: str
    schema: pa.Schema

    def pack(self, values: Mapping[str, np.ndarray]) -> bytes:
        """Pack the columns of a clip, as `pack_values` does.

        Args:
            values: Column name to its value.
        """
        return _pack(values, self.schema)

    def unpack_window(self, data: bytes) -> WindowFeatures:
        """Unpack what `pack_window` packed.

        Args:
            data: Its bytes.
        Returns:
            The columns of the window.
        """
        if not data:
            return {}
        columns, numbers = list(self.schema)[1:], np.frombuffer(data, np.float64)
        weights, features, start = numbers[: len(columns)], {}, len(columns)
        for column, weight in zip(columns, weights.tolist(), strict=True):
            end = start + _count_numbers(column.type)
            values = numbers[start:end]
            is_vector = pa.types.is_fixed_size_list(column.type)
            features[column.name] = WeightedValue(values if is_vector else values.reshape(()), weight)
            start = end
        return features

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
            width = _count_numbers(column.type)
            arrays.append(_as_array(matrix[:, start : start + width], column.type))
            start += width
        return pa.Table.from_arrays(arrays, schema=self.schema)


def _count_numbers(kind: pa.DataType) -> int:
    return int(kind.list_size) if pa.types.is_fixed_size_list(kind) else 1


def _as_array(block: np.ndarray, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(block[:, 0], kind)
    return pa.FixedSizeListArray.from_arrays(pa.array(block.astype(np.float32).ravel()), type=kind)
