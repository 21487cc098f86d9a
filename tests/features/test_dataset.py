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


SPLITS = ["train", "train", "train", "val", "val"]


def test_a_target_outside_the_unit_interval_keeps_its_units_and_gets_a_map():
    values = np.array([-1.0, 0.5, 2.0, 0.0, 1.0])
    data = StudyData.make(study_features(), values, SPLITS, "d_prime")
    np.testing.assert_array_equal(data.scores, values)
    # By hand: train from -1 to 2, 5 % of 3 on either side.
    assert (data.target.name, data.target.low, data.target.high) == pytest.approx(("d_prime", -1.15, 2.15))
    with pytest.raises(StudyError, match="all val values of d_prime are 1: rank correlation is undefined"):
        StudyData.make(study_features(), np.array([-1.0, 0.5, 2.0, 1.0, 1.0]), SPLITS, "d_prime")
    with pytest.raises(StudyError, match="0 val clips have features and a value of alpha"):
        StudyData.make(study_features(), np.array([-1.0, 0.5, 2.0, np.nan, np.nan]), SPLITS, "alpha")


def test_clips_weigh_as_many_viewers_as_they_have_over_the_train_split_s_mean():
    responses = np.array([10.0, 30.0, np.nan, 40.0, 0.0])
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    data = StudyData.make(study_features(), scores, SPLITS, responses=responses, weigh=True)
    np.testing.assert_allclose(data.weights, [0.5, 1.5, 1.0, 2.0, 0.0])
    assert data.weights.dtype == np.float32
    assert StudyData.make(study_features(), scores, SPLITS, responses=responses).weights is None


def test_another_target_has_the_same_matrix_and_its_own_rows():
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    groups = np.array([0, 0, 1, 2, 3])
    base = StudyData.make(study_features(), scores, SPLITS, responses=np.full(5, 9.0), groups=groups, weigh=True)
    values = np.array([np.nan, 1.0, 3.0, 2.0, 4.0])
    other = base.with_target("d_prime", values, SPLITS, np.array([2.0, 4.0, 12.0, 8.0, 8.0]))
    assert other.scaled is base.scaled
    assert other.groups is groups
    assert (other.train.tolist(), other.val.tolist()) == ([1, 2], [3, 4])
    np.testing.assert_allclose(other.weights, [0.25, 0.5, 1.5, 1.0, 1.0])
    assert base.with_target("d_prime", values, SPLITS).weights is None, "nobody counted its viewers"
