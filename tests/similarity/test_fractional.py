"""Fractional and Euclidean distances to the train split and to prototypes."""

import numpy as np
import pytest

from m3ray.similarity.fractional import EuclideanPrototypes, FractionalMean, FractionalPrototypes

LABELS = np.array([[True, False, False], [True, False, True], [False, False, True]])
TRAIN = np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 9.0]])


def test_mean_distances_by_hand():
    """From (4, 4): to (0, 0) it is (2 + 2)^2 = 16, to (4, 0) (0 + 2)^2 = 4."""
    measure = FractionalMean().fit(np.array([[0.0, 0.0], [4.0, 0.0]]))
    assert measure.transform(np.array([[4.0, 4.0]])).item() == pytest.approx(10)
    np.testing.assert_allclose(measure.transform_train(), [[4], [4]], rtol=1e-6)


def test_the_exponent_is_the_user_s():
    """With f = 1 it is the city block's distance."""
    measure = FractionalMean(f=1.0).fit(np.array([[0.0, 0.0], [1.0, 3.0]]))
    assert measure.transform(np.array([[1.0, 1.0]])).item() == pytest.approx(2)


def test_prototypes_are_means_of_the_clips_that_bear_a_label():
    """Of the labels a and c: (1, 0) and (3, 4.5); b is nobody's, and has no column."""
    measure = EuclideanPrototypes().fit(TRAIN, LABELS, ["a", "b", "c"])
    assert measure.columns == ("euclidean_label_a", "euclidean_label_c")
    np.testing.assert_allclose(measure.prototypes_, [[1, 0], [3, 4.5]])
    np.testing.assert_allclose(measure.transform(np.array([[1.0, 0.0]])), [[0, np.hypot(2, 4.5)]])


def test_fractional_distances_to_prototypes_by_hand():
    """From (1, 1) to (1, 0) it is 1; to (3, 4.5): (sqrt 2 + sqrt 3.5)^2."""
    measure = FractionalPrototypes().fit(TRAIN, LABELS, ["a", "b", "c"])
    assert measure.columns == ("fractional_label_a", "fractional_label_c")
    np.testing.assert_allclose(measure.transform(np.array([[1.0, 1.0]])), [[1, (2**0.5 + 3.5**0.5) ** 2]])
