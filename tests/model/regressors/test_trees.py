"""Flat trees: by hand; against scikit-learn's in the tests of what takes them out of its model."""

from __future__ import annotations

import numpy as np

from m3ray.model.regressors.trees import Trees


def make_trees(**changes) -> Trees:
    """Two trees: x0 <= 0 ? 1 : (x1 <= 0.5 ? 2 : 3), and the leaf 10."""
    parts = {
        "baseline": 100.0,
        "inputs": 2,
        "mean": None,
        "axes": None,
        "roots": np.array([0, 5], np.int32),
        "feature": np.array([0, -1, 1, -1, -1, -1], np.int32),
        "threshold": np.array([0, 0, 0.5, 0, 0, 0]),
        "left": np.array([1, -1, 3, -1, -1, -1], np.int32),
        "right": np.array([2, -1, 4, -1, -1, -1], np.int32),
        "value": np.array([0, 1.0, 0, 2, 3, 10]),
    }
    return Trees(**(parts | changes))


def test_a_clip_goes_left_where_it_is_at_most_the_threshold():
    rows = np.array([[0, 9], [-1, 0], [1, 0.5], [1, 0.6]], np.float32)
    assert make_trees()(rows).tolist() == [111, 111, 112, 113]


def test_features_are_projected_first():
    swap = make_trees(mean=np.array([1.0, 2.0]), axes=np.array([[0, 1], [1, 0]], np.float32))
    rows = np.array([[0, 9], [-1, 0], [1, 0.5], [1, 0.6]], np.float32)
    np.testing.assert_array_equal(swap(rows[:, ::-1] + np.array([1, 2], np.float32)), make_trees()(rows))


def test_parameters_are_thresholds_and_leaves():
    assert make_trees().parameters == 2 + 4


def test_a_feature_that_is_not_a_number_has_no_score():
    rows = np.array([[-1, np.nan], [-1, 1]], np.float32)
    np.testing.assert_array_equal(make_trees()(rows), [np.nan, 111])


def test_is_rebuilt_from_what_it_gives():
    rows = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    for model in (make_trees(), make_trees(mean=np.ones(2), axes=np.eye(2, dtype=np.float32))):
        again = Trees.load(model.settings(), model.tensors())
        np.testing.assert_array_equal(again(rows), model(rows))
