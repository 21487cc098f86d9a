"""Distances and sums over pairs, against SciPy, in one block and in many."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from m3ray.similarity import pairwise
from m3ray.similarity.pairwise import (
    blocks,
    cosine_counts,
    euclidean_distances,
    fractional_distances,
    fractional_sums,
    fractional_sums_within,
    log_kernel_sums,
    nearest_distances,
)

RNG = np.random.default_rng(0)
ROWS, OTHERS = RNG.standard_normal((17, 4)), RNG.standard_normal((23, 4))


@pytest.fixture(params=[1_000_000, 30], ids=["one block", "many blocks"], autouse=True)
def _blocks(request, monkeypatch):
    monkeypatch.setattr(pairwise, "CACHED_NUMBERS", request.param)
    monkeypatch.setattr(pairwise, "BLOCK_NUMBERS", request.param)


def frac(rows, others, f):
    return (np.abs(rows[:, None] - others[None]) ** f).sum(axis=-1) ** (1 / f)


@pytest.mark.parametrize("f", [0.5, 0.3, 1.0])
def test_fractional_distances_are_their_definition(f):
    np.testing.assert_allclose(fractional_distances(ROWS, OTHERS, f), frac(ROWS, OTHERS, f), rtol=1e-9)


@pytest.mark.parametrize("f", [0.5, 0.3])
def test_sums_of_fractional_distances(f):
    np.testing.assert_allclose(fractional_sums(ROWS, OTHERS, f), frac(ROWS, OTHERS, f).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(fractional_sums_within(ROWS, f), frac(ROWS, ROWS, f).sum(axis=1), rtol=1e-5)


def test_sums_far_from_the_origin_keep_their_digits():
    """Computed in float32, about the others' mean."""
    np.testing.assert_allclose(
        fractional_sums(ROWS + 1e6, OTHERS + 1e6, 0.5), frac(ROWS, OTHERS, 0.5).sum(axis=1), rtol=1e-4
    )


def test_euclidean_distances_are_scipy_s_and_exact_near_zero():
    np.testing.assert_allclose(euclidean_distances(ROWS, OTHERS), cdist(ROWS, OTHERS), rtol=1e-12)
    close = ROWS + 1e3
    np.testing.assert_allclose(np.diag(euclidean_distances(close, close + 1e-9)), 2e-9, rtol=1e-3)


def test_nearest_distances_ascend_and_leave_out_the_row_itself():
    expected = np.sort(cdist(ROWS, OTHERS), axis=1)[:, :3]
    np.testing.assert_allclose(nearest_distances(ROWS, OTHERS, 3), expected, rtol=1e-12)
    own = np.sort(cdist(ROWS, ROWS), axis=1)[:, 1:4]
    np.testing.assert_allclose(nearest_distances(ROWS, ROWS, 3, np.arange(17)), own, rtol=1e-12)


def test_counts_above_thresholds():
    unit, others = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (ROWS, OTHERS))
    cosine = unit @ others.T
    expected = np.stack([(cosine > t).sum(axis=1) for t in (-0.5, 0.0, 0.7)], axis=1)
    assert np.array_equal(cosine_counts(unit, others, (-0.5, 0.0, 0.7)), expected)


def test_kernel_sums_over_groups_are_scipy_s():
    exponents = -cdist(ROWS, OTHERS, "sqeuclidean") / (2 * 0.8**2)
    expected = np.stack([logsumexp(exponents[:, :9], axis=1), logsumexp(exponents[:, 9:], axis=1)], axis=1)
    np.testing.assert_allclose(log_kernel_sums(ROWS, OTHERS, np.array([9, 23]), 0.8), expected, rtol=1e-5, atol=1e-5)


def test_kernels_that_are_left_out_do_not_count():
    """Row 2 without points 4 and 5, row 16 without point 0; row 3 without any, whose sum is empty."""
    own = np.array([[2, 4], [2, 5], *([3, k] for k in range(23)), [16, 0]])
    exponents = -cdist(ROWS, OTHERS, "sqeuclidean") / 2
    exponents[own[:, 0], own[:, 1]] = -np.inf
    found = log_kernel_sums(ROWS, OTHERS, np.array([23]), 1.0, own)[:, 0]
    assert found[3] == -np.inf
    np.testing.assert_allclose(np.delete(found, 3), np.delete(logsumexp(exponents, axis=1), 3), rtol=1e-5, atol=1e-5)


def test_blocks_cover_all_rows_once_and_stay_within_the_limit():
    limit = pairwise.block_numbers()
    slices = list(blocks(17, 7))
    assert [k for part in slices for k in range(part.start, part.stop)] == list(range(17))
    assert all((part.stop - part.start) * 7 <= limit for part in slices)
    assert [s.stop - s.start for s in blocks(2, 10 * limit)] == [1, 1], "a row at least"


def test_read_only_arrays_are_taken_without_a_warning(recwarn):
    rows = ROWS.copy()
    rows.flags.writeable = False
    euclidean_distances(rows, rows)
    # What other tests loaded into this process may warn of other things.
    assert [str(warning.message) for warning in recwarn if "writ" in str(warning.message)] == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_computes_the_same():
    np.testing.assert_allclose(euclidean_distances(ROWS, OTHERS), cdist(ROWS, OTHERS), rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_half_and_single_precision_are_computed_in_double(dtype):
    rows, others = ROWS.astype(dtype), OTHERS.astype(dtype)
    expected = cdist(rows.astype(np.float64), others.astype(np.float64))
    np.testing.assert_allclose(euclidean_distances(rows, others), expected, rtol=1e-12)
    for found in (
        fractional_sums(rows, others, 0.5),
        cosine_counts(rows, others, (0.5,)),
        euclidean_distances(rows, rows),
    ):
        assert found.dtype == np.float64


def test_each_group_has_its_own_bandwidth_and_epanechnikov_s_kernel_is_its_definition():
    squares = cdist(ROWS, OTHERS, "sqeuclidean")
    ends, widths = np.array([9, 23]), np.array([0.8, 2.5])
    groups = [(squares[:, :9], 0.8), (squares[:, 9:], 2.5)]
    expected = np.stack([logsumexp(-part / (2 * h**2), axis=1) for part, h in groups], axis=1)
    np.testing.assert_allclose(log_kernel_sums(ROWS, OTHERS, ends, widths), expected, rtol=1e-5, atol=1e-5)
    with np.errstate(divide="ignore"):
        expected = np.log(np.stack([np.maximum(0, 1 - part / h**2).sum(axis=1) for part, h in groups], axis=1))
    found = log_kernel_sums(ROWS, OTHERS, ends, widths, kernel="epanechnikov")
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert np.isneginf(found).any()
