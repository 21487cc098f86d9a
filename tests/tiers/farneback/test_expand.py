"""A frame's polynomials, against a quadratic whose coefficients are known and against PyTorch's way."""

import cv2
import numpy as np
import pytest
import torch
from drifting import drifting_texture

from m3ray.tiers.farneback import batched
from m3ray.tiers.farneback.compiled import _fit_arrays
from m3ray.tiers.farneback.expand import expand
from m3ray.tiers.farneback.rows import scratch_rows


def expand_frame(frame):
    height, width = frame.shape
    rows, pixels = np.empty((height, 5, width), np.float32), np.empty((height, width, 5), np.float32)
    expand(frame.astype(np.float32), *_fit_arrays(), scratch_rows()[0], rows, pixels)
    return rows, pixels


def test_a_quadratic_has_its_own_coefficients():
    """Around (y, x): f = 0.5 x^2 - 0.25 y^2 + x y + 3 x, so b_x = x + y + 3, b_y = x - y / 2; away from the borders."""
    y, x = np.mgrid[0:20, 0:24].astype(np.float64)
    rows, _ = expand_frame(0.5 * x**2 - 0.25 * y**2 + x * y + 3 * x)
    expected = [x - y / 2, x + y + 3, np.full_like(x, -0.25), np.full_like(x, 0.5), np.ones_like(x)]
    inner = np.s_[6:-6, 6:-6]
    for k, coefficient in enumerate(expected):
        np.testing.assert_allclose(rows[:, k][inner], coefficient[inner], rtol=1e-3, atol=1e-3)


def test_both_layouts_hold_the_same():
    rows, pixels = expand_frame(drifting_texture(2, 1, 17, 33)[0])
    assert np.array_equal(rows.transpose(0, 2, 1), pixels)


@pytest.mark.parametrize("shape", [(10, 10), (12, 31), (40, 16)])
def test_borders_are_those_of_pytorch_s_way(shape):
    frame = drifting_texture(3, 1, *shape)[0]
    yy, y, minus_xy, minus_x, xx = batched._expand(torch.from_numpy(frame).float()[None], 0)[0].numpy()
    expected = np.stack([y, -minus_x, yy, xx, -minus_xy])
    blurred = cv2.GaussianBlur(frame.astype(np.float32), (3, 3), 0)  # one of PyTorch's steps, here for itself
    np.testing.assert_allclose(expand_frame(blurred)[0].transpose(1, 0, 2), expected, rtol=1e-3, atol=1e-3)
