"""The feature matrix of a study: tiers joined on the clip, checked, scaled with the train split's statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from m3ray.errors import FeatureError

# The paper normalises raw and similarity features; pooled network features stay as they are.
SCALED = ("raw", "similarity")
MOST_DROPPED = 0.05


@dataclass(frozen=True)
class Block:
    """One tier's columns of the matrix.

    Args:
        tier: its name.
        names: of its columns, e.g. `brightness`, `hog_0`.
        scaled: whether they are z-scored; one-hot columns are not.
        vectors: the widths of its columns where a vector is scaled as a whole, by one deviation: then the ratios
            between its directions stay. Empty: each number has a deviation of its own.
    """

    tier: str
    names: tuple[str, ...]
    scaled: bool
    vectors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Features:
    """Rows of clips, columns of tiers.

    Args:
        clip_ids: (N,).
        values: (N, F), float32, as the tiers have them.
        blocks: what the columns are, in order.
    """

    clip_ids: tuple[str, ...]
    values: np.ndarray
    blocks: tuple[Block, ...]

    @property
    def tiers(self) -> tuple[str, ...]:
        return tuple(block.tier for block in self.blocks)

    def columns_of(self, tier: str, name: str | None = None) -> np.ndarray:
        """Positions of a tier's columns, or of one feature of it (`hog` is ten)."""
        start = 0
        for block in self.blocks:
            if block.tier == tier:
                offsets = [
                    k for k, n in enumerate(block.names) if name is None or n.rsplit("_", 1)[0] == name or n == name
                ]
                return start + np.array(offsets, dtype=np.int64)
            start += len(block.names)
        return np.empty(0, np.int64)


def tier_block(
    tier: str,
    table: pa.Table,
    *,
    one_hot: bool = False,
    names: Sequence[str] | None = None,
    brought: Mapping[str, Any] | None = None,
) -> tuple[Block, np.ndarray]:
    """A tier's table as a block and its (N, width) values.

    Args:
        tier: its name.
        table: `clip_id` and its columns.
        one_hot: then it is not scaled.
        names: of its columns, where the table has a vector without them.
        brought: what is known of a tier that a user brought, `scaled` among it.
    Raises:
        FeatureError: a value is not finite, or a column is not numeric; tier and clip are named.
    """
    found: list[str] = []
    parts: list[np.ndarray] = []
    for column in table.column_names:
        if column == "clip_id":
            continue
        values = _numbers(table[column], tier, column)
        width = values.shape[1]
        found += [column] if table[column].type.num_fields == 0 else [f"{column}_{k}" for k in range(width)]
        parts.append(values)
    matrix = np.concatenate(parts, axis=1)
    check_finite_rows(matrix, table["clip_id"].to_pylist(), tier)
    scaled = tier.partition(":")[0] in SCALED and not one_hot
    if brought is not None:
        widths = tuple(part.shape[1] for part in parts) if brought["scaled"] else ()
        return Block(tier, tuple(found), brought["scaled"], widths), matrix
    return Block(tier, tuple(names or found), scaled), matrix


def _numbers(column: pa.ChunkedArray, tier: str, name: str) -> np.ndarray:
    flat = column.combine_chunks()
    try:
        if pa.types.is_fixed_size_list(flat.type):
            return flat.flatten().to_numpy(zero_copy_only=False).reshape(len(flat), -1).astype(np.float32)
        return flat.to_numpy(zero_copy_only=False).astype(np.float32)[:, None]
    except (ValueError, TypeError, pa.ArrowInvalid) as error:
        raise FeatureError(f"tier {tier}: column {name} is {flat.type}, expected numbers ({error})") from error


def check_finite_rows(matrix: np.ndarray, ids: Sequence[str], tier: str) -> None:
    """Raises FeatureError, naming tier and clip, where a row is not finite."""
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(bad):
        raise FeatureError(
            f"tier {tier}: clip {ids[bad[0]]} and {len(bad) - 1} more hold NaN or infinity: drop these clips"
        )


def joined(
    tables: Mapping[str, tuple[Block, np.ndarray, Sequence[str]]], wanted: Sequence[str]
) -> tuple[Features, int]:
    """The tiers of the clips `wanted` that have them all, and how many have not.

    Args:
        tables: tier to block, values and clip ids.
        wanted: clip ids, in the order of the rows.
    """
    positions = {tier: {name: k for k, name in enumerate(ids)} for tier, (_, _, ids) in tables.items()}
    kept = [name for name in wanted if all(name in known for known in positions.values())]
    parts = [values[[positions[tier][name] for name in kept]] for tier, (_, values, _) in tables.items()]
    matrix = np.concatenate(parts, axis=1) if parts else np.empty((len(kept), 0), np.float32)
    features = Features(tuple(kept), np.ascontiguousarray(matrix), tuple(block for block, _, _ in tables.values()))
    return features, len(wanted) - len(kept)
