"""What regressors are fitted on, and folds side by side."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from m3ray.training.regressors.base import TrainRows, run_side_by_side


def test_folds_without_a_clip_are_left_out():
    rows = TrainRows(np.zeros((4, 1)), np.zeros(4), np.ones(4), np.array([3, 0, 3, 0]))
    assert [part.tolist() for part in rows.left_out] == [[1, 3], [0, 2]]


def test_errors_are_weighted():
    rows = TrainRows(np.zeros((2, 1)), np.zeros(2), np.array([3.0, 1.0]), np.arange(2))
    assert rows.score_error(np.array([1.0, 2.0])) == pytest.approx((3 * 1 + 1 * 4) / 4)


@pytest.mark.parametrize("cores", [0, 1, 2])
def test_each_part_is_run_once_on_as_many_threads_as_cores(cores):
    seen, threads = [], set()

    def run(part: np.ndarray) -> None:
        seen.append(int(part[0]))
        threads.add(threading.get_ident())

    run_side_by_side(run, [np.array([k]) for k in range(5)], cores)
    assert sorted(seen) == [0, 1, 2, 3, 4]
    assert len(threads) <= max(cores, 1)


def test_an_error_in_a_fold_is_raised():
    def run(part: np.ndarray) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_side_by_side(run, [np.array([0])], 2)
