import numpy as np
import pyarrow as pa
import pytest

from m3ray.errors import FeatureError, StudyError
from m3ray.features.dataset import Scaling, StudyData
from m3ray.features.matrix import joined, tier_block
from m3ray.schema import vector


def raw_table(ids, values):
    hog = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(len(ids) * 10, dtype=np.float32)), type=vector(10))
    return pa.table({"clip_id": ids, "brightness": pa.array(values, pa.float32()), "hog": hog})


def study_features(ids=("a", "b", "c", "d", "e")):
    block, values = tier_block("raw", raw_table(list(ids), np.linspace(1, 5, len(ids))))
    return joined({"raw": (block, values, list(ids))}, list(ids))[0]


def test_columns_are_named_and_found():
    features = study_features()
    assert features.blocks[0].names == ("brightness", *(f"hog_{k}" for k in range(10)))
    assert features.columns_of("raw", "brightness").tolist() == [0]
    assert features.columns_of("raw", "hog").tolist() == list(range(1, 11))
    assert len(features.columns_of("scene")) == 0


def test_tiers_are_joined_on_the_clip_whatever_their_order():
    one = tier_block("raw", raw_table(["a", "b", "c"], [1.0, 2.0, 3.0]))
    two = tier_block("text", pa.table({"clip_id": ["c", "x", "a"], "n": [30.0, 0.0, 10.0]}))
    features, dropped = joined({"raw": (*one, ["a", "b", "c"]), "text": (*two, ["c", "x", "a"])}, ["a", "b", "c"])
    assert features.clip_ids == ("a", "c")
    assert dropped == 1
    assert features.values[:, 0].tolist() == [1, 3]
    assert features.values[:, -1].tolist() == [10, 30]


def test_only_raw_and_similarity_are_scaled_and_one_hot_columns_are_not():
    table = pa.table({"clip_id": ["a"], "n": [1.0]})
    assert tier_block("raw", table)[0].scaled
    assert tier_block("similarity", table)[0].scaled
    assert not tier_block("similarity", table, one_hot=True)[0].scaled
    assert not tier_block("scene", table)[0].scaled


def test_scaling_uses_the_train_rows_alone():
    features = study_features()
    scaling = Scaling.fit(features, np.array([0, 1]))
    z = scaling(features.values)
    assert z[[0, 1], 0].tolist() == [-1, 1]
    assert z[4, 0] == 7, "(5 - 1.5) / 0.5: val rows have no say"


def test_constant_columns_do_not_divide_by_zero():
    block, values = tier_block("raw", pa.table({"clip_id": ["a", "b"], "n": [3.0, 3.0]}))
    features, _ = joined({"raw": (block, values, ["a", "b"])}, ["a", "b"])
    assert Scaling.fit(features, np.array([0, 1]))(features.values).tolist() == [[0], [0]]


def test_numbers_that_are_not_finite_name_tier_and_clip():
    with pytest.raises(FeatureError, match="tier raw: clip b"):
        tier_block("raw", raw_table(["a", "b"], [1.0, np.nan]))
    with pytest.raises(FeatureError, match="column n is string"):
        tier_block("text", pa.table({"clip_id": ["a"], "n": ["x"]}))


def test_a_study_needs_scores_that_vary():
    features = study_features()
    splits = ["train", "train", "train", "val", "val"]
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    data = StudyData.make(features, scores, splits)
    assert (data.train.tolist(), data.val.tolist()) == ([0, 1, 2], [3, 4])
    unscored = scores.copy()
    unscored[0] = np.nan
    assert StudyData.make(features, unscored, splits).train.tolist() == [1, 2], "rows without a score never train"
    with pytest.raises(StudyError, match="0 train and 0 val"):
        StudyData.make(features, np.full(5, np.nan), splits)
    with pytest.raises(StudyError, match=r"all val scores are 0\.5"):
        StudyData.make(features, np.array([0.1, 0.2, 0.3, 0.5, 0.5]), splits)
