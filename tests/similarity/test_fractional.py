"""Fractional and Euclidean distances to the train split and to prototypes."""

import numpy as np
import pytest

from m3ray.errors import StudyError
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


def test_a_train_clip_is_left_out_of_its_own_prototypes():
    """Reference: prototypes of the other clips, by NumPy, clip by clip."""
    rng = np.random.default_rng(0)
    train, labels = rng.standard_normal((30, 4)), rng.random((30, 5)) < 0.3
    labels[:2] = True
    for measure in (EuclideanPrototypes(), FractionalPrototypes()):
        found = measure.fit(train, labels).transform_train()
        for k in range(30):
            others = np.arange(30) != k
            means = np.stack([train[others & column].mean(axis=0) for column in labels.T])
            gaps = np.abs(train[k] - means)
            expected = np.sqrt((gaps**2).sum(1)) if "Euclid" in repr(measure) else (gaps**0.5).sum(1) ** 2
            np.testing.assert_allclose(found[k], expected, rtol=1e-9)


def test_own_labels_are_as_far_from_train_clips_as_from_new_ones():
    """Clips of labels with few train clips were nearer to their own prototype than new ones, of 2.39 against 3.04."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(200), 4)
    train, held = rng.standard_normal((800, 10)), rng.standard_normal((800, 10))
    for measure in (EuclideanPrototypes(), FractionalPrototypes()):
        measure.fit(train, labels[:, None] == np.arange(200))
        own = measure.transform_train()[np.arange(800), labels]
        new = measure.transform(held)[np.arange(800), labels]
        kept = measure.transform(train)[np.arange(800), labels]
        # Means of 3 clips vary by 1/3, of 4 by 1/4: sqrt((1 + 1/3) / (1 + 1/4)) = 1.03.
        assert np.median(own) / np.median(new) == pytest.approx(1.03, abs=0.05)
        assert np.median(kept) / np.median(new) < 0.85, "as it was: the clip in its own prototype"


def test_a_label_with_one_train_clip_has_no_prototype_and_it_is_said():
    labels = np.array([[True, True], [True, False], [True, False]])
    with pytest.warns(UserWarning, match="1 of 2 labels have one train clip and no prototype"):
        measure = EuclideanPrototypes().fit(TRAIN, labels, ["a", "b"])
    assert measure.columns == ("euclidean_label_a",)
    assert EuclideanPrototypes(leave_one_out=False).fit(TRAIN, labels, ["a", "b"]).columns[1] == "euclidean_label_b"
    with pytest.raises(StudyError, match="no label has 2 train clips, the most frequent has 1"):
        EuclideanPrototypes().fit(TRAIN, np.eye(3, dtype=bool))


def test_prototypes_of_an_older_version_measure_train_clips_as_it_did():
    """It kept no members: the clip stays in its own prototypes."""
    arrays, values = EuclideanPrototypes().fit(TRAIN, LABELS).state()
    del arrays["members_"]
    then = EuclideanPrototypes().restore(arrays, values)
    np.testing.assert_array_equal(then.transform_train(), then.transform(TRAIN))


def test_the_distance_to_the_mean_vector_with_the_clip_and_without():
    """From (4, 4) to the mean (2, 0): (sqrt 2 + 2)^2; of two train clips without one, the mean is the other: 4."""
    train = np.array([[0.0, 0.0], [4.0, 0.0]])
    measure = FractionalMean(of="mean").fit(train)
    assert measure.transform(np.array([[4.0, 4.0]])).item() == pytest.approx((2**0.5 + 2) ** 2)
    np.testing.assert_allclose(measure.transform_train(), [[4], [4]])
    np.testing.assert_allclose(FractionalMean(of="mean", leave_one_out=False).fit(train).transform_train(), [[2], [2]])


def test_without_leaving_one_out_a_train_clip_is_among_those_it_is_compared_with():
    train = np.random.default_rng(1).standard_normal((9, 3))
    measure = FractionalMean(leave_one_out=False).fit(train)
    np.testing.assert_allclose(measure.transform_train(), measure.transform(train), rtol=1e-6)
