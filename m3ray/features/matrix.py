"""The feature matrix of a study: blocks of columns, one a tier, joined on the clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from m3ray.errors import FeatureError
from m3ray.schema import PRETRAINED, is_captions
from m3ray.storage.vector_columns import column_values

# The paper normalises raw and similarity features; pooled network features stay as they are.
SCALED = ("raw", "similarity")
# Share of the scored clips that may lack a tier without having been rejected.
MAX_MISSING = 0.05


@dataclass(frozen=True)
class Block:
    """One tier's columns of the matrix.

    Args:
        tier: Name of the tier.
        names: Names of its columns, such as `brightness` and `hog_0`.
        scaled: Whether the columns are standardised; one-hot columns are not.
        vectors: Widths of the tier's vectors if each is scaled as a whole, by one standard deviation, so that the
            ratios between its directions stay; empty: each column has a standard deviation of its own.
    """

    tier: str
    names: tuple[str, ...]
    scaled: bool
    vectors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Features:
    """The matrix: rows of N clips, F columns of tiers.

    Args:
        clip_ids: Clip of each row.
        values: Features as the tiers have them, (N, F), float32.
        blocks: Tier of the columns, in order.
    """

    clip_ids: tuple[str, ...]
    values: np.ndarray
    blocks: tuple[Block, ...]

    @property
    def tiers(self) -> tuple[str, ...]:
        """Names of the tiers, in the order of their columns."""
        return tuple(block.tier for block in self.blocks)

    def columns_of(self, tier: str, name: str | None = None) -> np.ndarray:
        """Positions of a tier's columns, or of one of its features.

        Args:
            tier: Name of the tier.
            name: Name of a feature, such as `hog`, which has ten columns; None: all features.
        Returns:
            Positions among the columns, int64; none where there is no such tier or feature.
        """
        start = 0
        for block in self.blocks:
            if block.tier == tier:
                offsets = [k for k, n in enumerate(block.names) if name in (None, n, n.rsplit("_", 1)[0])]
                return start + np.array(offsets, dtype=np.int64)
            start += len(block.names)
        return np.empty(0, np.int64)


def make_block(
    tier: str,
    table: pa.Table,
    *,
    one_hot: bool = False,
    names: Sequence[str] | None = None,
    user_scaled: bool | None = None,
) -> tuple[Block, np.ndarray]:
    """Turn a tier's table into a block of the matrix.

    Args:
        tier: Name of the tier.
        table: `clip_id` and the tier's columns, numbers or vectors, of N clips.
        one_hot: Whether the columns are one-hot; they are then not scaled.
        names: Names of the columns, where the table has a vector without them.
        user_scaled: Whether a user-provided tier is scaled, each of its vectors as a whole; None: a computed tier.
    Returns:
        The block and its values, (N, width), float32.
    Raises:
        FeatureError: If a value is not finite or a column is not numeric; it names the tier, and the clip or column.
    """
    column_names: list[str] = []
    parts: list[np.ndarray] = []
    for column in table.column_names:
        if column == "clip_id":
            continue
        values = _column_matrix(table[column], tier, column)
        width = values.shape[1]
        column_names += [column] if table[column].type.num_fields == 0 else [f"{column}_{k}" for k in range(width)]
        parts.append(values)
    matrix = np.concatenate(parts, axis=1)
    check_finite_rows(matrix, table["clip_id"].to_pylist(), tier)
    if user_scaled is not None:
        widths = tuple(part.shape[1] for part in parts) if user_scaled else ()
        return Block(tier, tuple(column_names), user_scaled, widths), matrix
    # A score, its spread and a vector; or captions' vector: the ratios between the vector's directions stay.
    if tier in PRETRAINED or is_captions(tier):
        return Block(tier, tuple(column_names), True, tuple(part.shape[1] for part in parts)), matrix
    scaled = tier.partition(":")[0] in SCALED and not one_hot
    return Block(tier, tuple(names or column_names), scaled), matrix


def _column_matrix(column: pa.ChunkedArray, tier: str, name: str) -> np.ndarray:
    """Values of a column, (N, width), float32."""
    try:
        values = column_values(column).astype(np.float32)
    except (ValueError, TypeError, pa.ArrowInvalid) as error:
        raise FeatureError(f"tier {tier}: column {name} is {column.type}, expected numbers ({error})") from error
    return values[:, None] if values.ndim == 1 else values


def check_finite_rows(matrix: np.ndarray, ids: Sequence[str], tier: str) -> None:
    """Check that all values of a matrix are finite.

    Args:
        matrix: Values, (N, width).
        ids: Clip of each row.
        tier: Name of the tier, for the message.
    Raises:
        FeatureError: If a value is not finite; it names the tier and the first such clip.
    """
    rows = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(rows):
        raise FeatureError(
            f"tier {tier}: clip {ids[rows[0]]} and {len(rows) - 1} more hold NaN or infinity: drop these clips"
        )


def join_tiers(
    tables: Mapping[str, tuple[Block, np.ndarray, Sequence[str]]], clip_ids: Sequence[str]
) -> tuple[Features, int]:
    """Join tiers on the clip; clips that lack one of them are left out.

    Args:
        tables: Tier to its block, its values, (N, width), and the clip of each row.
        clip_ids: Clips in the order of the rows.
    Returns:
        The matrix, and the number of clips left out.
    """
    positions = {tier: {name: k for k, name in enumerate(ids)} for tier, (_, _, ids) in tables.items()}
    complete = [name for name in clip_ids if all(name in rows for rows in positions.values())]
    parts = [values[[positions[tier][name] for name in complete]] for tier, (_, values, _) in tables.items()]
    matrix = np.concatenate(parts, axis=1) if parts else np.empty((len(complete), 0), np.float32)
    features = Features(tuple(complete), np.ascontiguousarray(matrix), tuple(block for block, _, _ in tables.values()))
    return features, len(clip_ids) - len(complete)
