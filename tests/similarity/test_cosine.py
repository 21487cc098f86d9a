"""Cosine similarities to the train split."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from m3ray.similarity.cosine import CosineMean, CosineThreshold

# Directions at 0, 60 and 90 degrees, of different lengths.
TRAIN = np.array([[2.0, 0.0], [0.5, 0.75**0.5], [0.0, 3.0]])


def test_means_by_hand():
    measure = CosineMean().fit(TRAIN)
    assert measure.transform(np.array([[5.0, 0.0]])).item() == pytest.approx((1 + 0.5 + 0) / 3)
    np.testing.assert_allclose(
        measure.transform_train()[:, 0], [0.5 / 2, (0.5 + 0.75**0.5) / 2, 0.75**0.5 / 2], rtol=1e-12
    )


def test_shares_by_hand():
    measure = CosineThreshold(thresholds=(0.4, 0.6, 0.999)).fit(TRAIN)
    assert measure.columns == ("cosine_above_0.4", "cosine_above_0.6", "cosine_above_0.999")
    np.testing.assert_allclose(measure.transform(np.array([[5.0, 0.0]])), [[2 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(measure.transform_train(), [[0.5, 0, 0], [1, 0.5, 0], [0.5, 0.5, 0]])


@pytest.mark.parametrize("kind", [CosineMean, CosineThreshold])
def test_a_vector_without_direction_is_like_nothing_not_even_itself(kind):
    measure = kind().fit(np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]))
    assert (measure.transform(np.zeros((1, 2))) == 0).all()
    assert (measure.transform_train()[1] == 0).all()
    np.testing.assert_allclose(measure.transform_train()[0], 0.5)


def test_the_similarity_to_the_mean_vector():
    """Reference: scikit-learn's cosine similarity, of the mean of all train clips and of that of the others."""
    train = np.random.default_rng(0).standard_normal((12, 3)) + 1
    query = np.random.default_rng(1).standard_normal((5, 3))
    mean = train.mean(axis=0, keepdims=True)
    measure = CosineMean(of="mean", leave_one_out=False).fit(train)
    np.testing.assert_allclose(measure.transform(query), cosine_similarity(query, mean), rtol=1e-9)
    np.testing.assert_allclose(measure.transform_train(), cosine_similarity(train, mean), rtol=1e-9)
    expected = [[cosine_similarity(train[k : k + 1], [np.delete(train, k, axis=0).mean(0)]).item()] for k in range(12)]
    np.testing.assert_allclose(CosineMean(of="mean").fit(train).transform_train(), expected, rtol=1e-9)


def test_a_mean_without_a_direction_is_said():
    centred = np.random.default_rng(0).standard_normal((40, 5))
    centred -= centred.mean(axis=0)
    with pytest.warns(UserWarning, match="the direction that clips are compared with is one of rounding"):
        CosineMean(of="mean").fit(centred)


def test_without_leaving_one_out_a_train_clip_is_like_itself():
    for kind in (CosineMean, CosineThreshold):
        measure = kind(leave_one_out=False).fit(TRAIN)
        np.testing.assert_array_equal(measure.transform_train(), measure.transform(TRAIN))


@pytest.mark.parametrize("size", [1e-200, 1e-39, 1e39, 1e200])
def test_lengths_decide_nothing_however_large(size):
    measure = CosineMean().fit(TRAIN)
    np.testing.assert_allclose(CosineMean().fit(TRAIN * size).transform(TRAIN * size), measure.transform(TRAIN))
