"""The settings of OpenCV's flow, from its documentation and from fits that are known."""

import numpy as np
import pytest
import torch

from m3ray.tiers.farneback.definition import (
    POLY_N,
    blur_filter,
    border_plane,
    border_weights,
    expansion_weights,
    gaussian,
    level_blur,
    level_size,
    pyramid_depth,
)


@pytest.mark.parametrize(
    ("size", "halvings"),
    [((256, 256), 3), ((255, 256), 2), ((64, 80), 1), ((63, 500), 0), ((10, 10), 0), ((4000, 4000), 3)],
)
def test_a_frame_is_halved_while_32_pixels_are_left(size, halvings):
    assert pyramid_depth(torch.Size(size)) == halvings


def test_sizes_of_levels_are_rounded():
    assert [level_size(torch.Size((101, 256)), level) for level in range(3)] == [(101, 256), (50, 128), (25, 64)]


def test_the_blur_before_a_reduction_grows_with_it():
    """Deviation (1 / scale - 1) / 2, width 5 deviations and odd, 3 at least: OpenCV's."""
    assert [level_blur(level) for level in range(4)] == [(3, 0.0), (3, 0.5), (9, 1.5), (19, 3.5)]


def test_a_gaussian_sums_to_one_and_falls_as_it_should():
    weights = gaussian(11, 1.2)
    assert weights.sum().item() == pytest.approx(1)
    assert (weights[7] / weights[5]).item() == pytest.approx(np.exp(-(2**2) / (2 * 1.2**2)))
    assert torch.equal(weights, weights.flip(0))


def test_a_frame_that_is_not_reduced_is_blurred_by_binomial_weights():
    """OpenCV's Gaussian of width 3 where no deviation is given; other levels by their own."""
    assert blur_filter(0).tolist() == [0.25, 0.5, 0.25]
    assert torch.equal(blur_filter(2), gaussian(9, 1.5))


def test_a_pixel_near_two_borders_weighs_their_product():
    plane = border_plane(12, 20)
    assert plane.shape == (12, 20)
    assert plane[0, 2].item() == pytest.approx(0.14 * 0.4472)
    assert plane[6, 10] == 1


def test_the_fit_finds_the_coefficients_of_a_quadratic():
    """Moments of 3 + 2x - y + 0.5x^2 - 0.25y^2 + 0.75xy under the weights give its own coefficients."""
    fit = expansion_weights()
    offset = torch.arange(-POLY_N, POLY_N + 1, dtype=torch.float64)
    y, x = torch.meshgrid(offset, offset, indexing="ij")
    values = 3 + 2 * x - y + 0.5 * x**2 - 0.25 * y**2 + 0.75 * x * y
    one, linear, square = fit.filters

    def moment(in_y, in_x):
        return (in_y @ values @ in_x).item()

    constant = moment(one, one) * fit.mixed
    assert moment(one, linear) * fit.linear == pytest.approx(2)
    assert moment(linear, one) * fit.linear == pytest.approx(-1)
    assert constant + moment(one, square) * fit.square == pytest.approx(0.5)
    assert constant + moment(square, one) * fit.square == pytest.approx(-0.25)
    assert moment(linear, linear) * fit.cross == pytest.approx(0.75)


def test_borders_weigh_less_and_twice_so_where_both_meet():
    assert border_weights(12) == [0.14, 0.14, 0.4472, 0.4472, 0.4472, 1, 1, 0.4472, 0.4472, 0.4472, 0.14, 0.14]
    assert border_weights(3) == pytest.approx([0.14 * 0.4472, 0.14 * 0.14, 0.4472 * 0.14])
