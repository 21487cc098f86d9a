"""The matrices of flow's linear steps, against values that are known and NumPy's own padding."""

import numpy as np
import pytest
import torch

from m3ray.tiers.farneback import matrices
from m3ray.tiers.farneback.definition import WINDOW, border_weights


@pytest.mark.parametrize("length", [10, 33])
def test_the_window_s_mean_is_numpy_s_with_repeated_ends(length):
    row = np.random.default_rng(0).random(length)
    padded = np.pad(row, WINDOW // 2, mode="edge")
    expected = np.lib.stride_tricks.sliding_window_view(padded, WINDOW).mean(axis=1)
    np.testing.assert_allclose(matrices.window_mean(length).numpy() @ row, expected)


def expand(frame, level=0):
    """The five planes of a frame, by both matrices of each."""
    height, width = frame.shape
    along_x = (frame @ matrices.expansion_columns(width, level)).view(height, 3, -1)
    planes = [matrices.expansion_rows(height, level, k) @ along_x[:, k] for k in range(3)]
    return torch.cat(planes).view(5, -1, along_x.shape[-1])


def test_a_quadratic_has_its_own_coefficients():
    """Of 0.5 x^2 - 0.25 y^2 + x y + 3 x: b_x = x + y + 3, b_y = x - y / 2; the blur adds a constant alone."""
    y, x = (torch.from_numpy(axis.astype(np.float64)) for axis in np.mgrid[0:24, 0:28])
    planes = expand(0.5 * x**2 - 0.25 * y**2 + x * y + 3 * x)
    expected = [torch.full_like(x, -0.25), x - y / 2, -torch.ones_like(x), -(x + y + 3), torch.full_like(x, 0.5)]
    inner = np.s_[7:-7, 7:-7]
    for found, known in zip(planes, expected, strict=True):
        torch.testing.assert_close(found[inner], known[inner], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("level", "side"), [(0, 64), (1, 32)])
def test_a_constant_frame_has_no_polynomial(level, side):
    planes = expand(torch.full((64, 64), 7.0, dtype=torch.float64), level)
    assert planes.shape == (5, side, side)
    assert planes.abs().max() < 1e-12


def test_shares_fall_at_the_border_as_opencv_s_do():
    """0.14 in the outermost row and column, twice at a corner; half of each frame's curvature in the middle."""
    first, second = (matrices.share_of(frame, 20, 30) for frame in range(2))
    assert first[0, 10, 15] == second[0, 10, 15] == 0.5
    assert second[1, 10, 15] == -0.5
    assert first[0, 0, 0] == pytest.approx(0.5 * border_weights(20)[0] * border_weights(30)[0])


def test_outside_the_frame_a_pair_has_the_first_s_curvature_and_half_its_gradient():
    """The second's curvature is then the first's and its gradient nothing: both shares, or the first's alone."""
    first, second = (matrices.share_of(frame, 20, 30)[:, 10, 15] for frame in range(2))
    of_second = torch.tensor([1, 0, 1, 0, 1])
    torch.testing.assert_close(matrices.outside_factors()[:, 0, 0] * first, first + second * of_second)


def test_places_count_from_the_upper_left_and_end_before_the_last():
    places, last = matrices.pixel_places(4, 6), matrices.last_places(4, 6)
    assert places[:, 2, 5].tolist() == [5, 2]
    assert (
        (last < torch.tensor([5.0, 3.0])[:, None, None]) & (last > torch.tensor([4.9999, 2.9999])[:, None, None])
    ).all()
    assert (matrices.grid_scale(4, 6)[:, 0, 0] * torch.tensor([5.0, 3.0]) - 1).tolist() == [1, 1]
