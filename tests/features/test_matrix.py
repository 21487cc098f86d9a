import numpy as np
import pyarrow as pa
import pytest

from m3ray.errors import FeatureError
from m3ray.features.matrix import join_tiers, make_block
from m3ray.schema import vector


def raw_table(ids, values):
    hog = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(len(ids) * 10, dtype=np.float32)), type=vector(10))
    return pa.table({"clip_id": ids, "brightness": pa.array(values, pa.float32()), "hog": hog})


def study_features(ids=("a", "b", "c", "d", "e")):
    block, values = make_block("raw", raw_table(list(ids), np.linspace(1, 5, len(ids))))
    return join_tiers({"raw": (block, values, list(ids))}, list(ids))[0]


def test_columns_are_named_and_found():
    features = study_features()
    assert features.blocks[0].names == ("brightness", *(f"hog_{k}" for k in range(10)))
    assert features.columns_of("raw", "brightness").tolist() == [0]
    assert features.columns_of("raw", "hog").tolist() == list(range(1, 11))
    assert len(features.columns_of("scene")) == 0


def test_tiers_are_joined_on_the_clip_whatever_their_order():
    one = make_block("raw", raw_table(["a", "b", "c"], [1.0, 2.0, 3.0]))
    two = make_block("text", pa.table({"clip_id": ["c", "x", "a"], "n": [30.0, 0.0, 10.0]}))
    features, dropped = join_tiers({"raw": (*one, ["a", "b", "c"]), "text": (*two, ["c", "x", "a"])}, ["a", "b", "c"])
    assert features.clip_ids == ("a", "c")
    assert dropped == 1
    assert features.values[:, 0].tolist() == [1, 3]
    assert features.values[:, -1].tolist() == [10, 30]


def test_only_raw_and_similarity_are_scaled_and_one_hot_columns_are_not():
    table = pa.table({"clip_id": ["a"], "n": [1.0]})
    assert make_block("raw", table)[0].scaled
    assert make_block("similarity", table)[0].scaled
    assert not make_block("similarity", table, one_hot=True)[0].scaled
    assert not make_block("scene", table)[0].scaled


def test_numbers_that_are_not_finite_name_tier_and_clip():
    with pytest.raises(FeatureError, match="tier raw: clip b"):
        make_block("raw", raw_table(["a", "b"], [1.0, np.nan]))
    with pytest.raises(FeatureError, match="column n is string"):
        make_block("text", pa.table({"clip_id": ["a"], "n": ["x"]}))
