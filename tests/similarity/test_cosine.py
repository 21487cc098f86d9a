"""Cosine similarities to the train split."""

import numpy as np
import pytest

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
