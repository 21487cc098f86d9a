"""Scaling and splits of a study's matrix."""

import numpy as np
import pytest

from m3ray.errors import StudyError
from m3ray.features.dataset import Scaling, StudyData
from m3ray.features.matrix import Block, Features


def make_features(values, *blocks):
    values = np.asarray(values, np.float32)
    return Features(tuple(f"c{k}" for k in range(len(values))), values, blocks)


def study_features():
    return make_features(np.linspace(1, 5, 5)[:, None], Block("raw", ("brightness",), True))


def test_scaling_uses_the_train_rows_alone():
    features = study_features()
    scaling = Scaling.fit(features, np.array([0, 1]))
    z = scaling(features.values)
    assert z[[0, 1], 0].tolist() == [-1, 1]
    assert z[4, 0] == 7, "(5 - 1.5) / 0.5: val rows have no say"


def test_constant_columns_do_not_divide_by_zero():
    features = make_features([[3.0], [3.0]], Block("raw", ("n",), True))
    assert Scaling.fit(features, np.array([0, 1]))(features.values).tolist() == [[0], [0]]


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


def test_a_vector_is_scaled_by_one_deviation():
    """By hand: deviations 3 and 4 of the columns, so sqrt((9 + 16) / 2) for both; the third column has its own."""
    values = [[-3.0, -4.0, 10.0], [3.0, 4.0, 14.0]]
    features = make_features(values, Block("text", ("v_0", "v_1", "n"), True, (2, 1)))
    scaling = Scaling.fit(features, np.array([0, 1]))
    np.testing.assert_allclose(scaling.deviation, [12.5**0.5, 12.5**0.5, 2.0], rtol=1e-6)
    np.testing.assert_allclose(scaling.mean, [0.0, 0.0, 12.0])


def test_columns_that_are_not_scaled_stay_as_they_are():
    features = make_features([[5.0, 1.0], [7.0, 3.0]], Block("scene", ("a",), False), Block("raw", ("b",), True))
    np.testing.assert_array_equal(Scaling.fit(features, np.array([0, 1]))(features.values), [[5, -1], [7, 1]])


def test_test_rows_are_kept_apart_and_may_be_few():
    data = StudyData.make(
        study_features(), np.array([0.1, 0.2, 0.3, 0.4, 0.5]), ["train", "train", "val", "val", "test"]
    )
    assert (data.train.tolist(), data.val.tolist(), data.test.tolist()) == ([0, 1], [2, 3], [4])
    assert data.scores.dtype == np.float32
