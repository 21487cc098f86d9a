"""What all regressors share: prediction block by block, and arrays by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from m3ray.errors import ShapeError
from m3ray.model.regressors.base import ROWS_AT_ONCE, predict_by_block, take_arrays


def test_blocks_give_what_all_rows_at_once_give():
    rows = np.random.default_rng(0).normal(size=(ROWS_AT_ONCE + 3, 2)).astype(np.float32)
    found = predict_by_block(rows, 2, lambda block: block.sum(axis=1))
    np.testing.assert_array_equal(found, rows.astype(np.float64).sum(axis=1))


def test_no_rows_give_no_scores():
    assert predict_by_block(np.empty((0, 2), np.float32), 2, lambda block: block.sum(axis=1)).shape == (0,)


@pytest.mark.parametrize("shape", [(3, 4), (4,), (2, 3, 5)])
def test_another_number_of_columns_is_refused(shape):
    with pytest.raises(ShapeError, match=r"expected features \(N, 5\)"):
        predict_by_block(np.zeros(shape, np.float32), 5, lambda block: block.sum(axis=1))


def test_tensors_are_taken_as_arrays():
    one, two = take_arrays({"a": torch.ones(2), "b": np.zeros(3)}, "b", "a")
    assert isinstance(two, np.ndarray)
    assert (one.tolist(), two.tolist()) == ([0, 0, 0], [1, 1])
