"""Columns of a tier, packed by the tier actor and unpacked by the writer."""

import numpy as np
import pyarrow as pa
from mean_tier import MeanTier

from m3ray.pipelines.extraction.records import ComputedClip
from m3ray.pipelines.extraction.tier_columns import TierColumns, pack_values
from m3ray.schema import vector


class MixedTier:
    """Scalars of two types around a vector, as the raw tier has them."""

    name = "mixed"
    schema = pa.schema([("clip_id", pa.string()), ("a", pa.float32()), ("v", vector(2)), ("size", pa.float64())])


def test_scalars_and_vectors_come_back_in_the_tier_s_own_types():
    rows = [
        ComputedClip("x", "/x", None, {"mixed": {"a": np.float32(0.1), "v": np.array([1.0, 2.0]), "size": 2**53 - 1}}),
        ComputedClip("y", "/y", None, {"mixed": {"a": np.float32(0.2), "v": np.array([3.0, 4.0]), "size": 5}}),
    ]
    packed = [pack_values(row, MixedTier()) for row in rows]
    table = TierColumns("mixed", MixedTier.schema).unpack(["x", "y"], packed)
    assert table.schema == MixedTier.schema
    assert table["v"].to_pylist() == [[1, 2], [3, 4]]
    assert table["a"].to_numpy().tolist() == np.array([0.1, 0.2], np.float32).tolist(), "float32 to the bit"
    assert table["size"].to_pylist() == [2**53 - 1, 5], "a byte count keeps every byte"


def test_the_order_is_the_schema_s_whatever_the_values_order():
    values = {"size": 7.0, "v": np.array([1.0, 2.0]), "a": 0.5}
    packed = pack_values(ComputedClip("x", "/x", None, {"mixed": values}), MixedTier())
    assert np.frombuffer(packed, np.float64).tolist() == [0.5, 1, 2, 7]


def test_a_tier_that_was_not_computed_has_no_bytes():
    assert pack_values(ComputedClip("x", "/x", None, {"mixed": {}}), MeanTier()) is None
