"""The eight orientations. Expected corners: ffmpeg 5.1's autorotation of an .mp4 with the matrix in its track."""

import struct

import numpy as np
import pytest

from m3ray.video.orientation import UPRIGHT, orient, read_display_matrix, swaps_sides

# Corners of the picture as stored: top left, top right, bottom left, bottom right.
PICTURE = np.array([[1, 2], [3, 4]])[..., None].repeat(3, axis=2)


@pytest.mark.parametrize(
    ("matrix", "corners"),
    [
        ((1, 0, 0, 1), [[1, 2], [3, 4]]),
        ((-1, 0, 0, 1), [[2, 1], [4, 3]]),
        ((1, 0, 0, -1), [[3, 4], [1, 2]]),
        ((-1, 0, 0, -1), [[4, 3], [2, 1]]),
        ((0, 1, -1, 0), [[3, 1], [4, 2]]),
        ((0, -1, 1, 0), [[2, 4], [1, 3]]),
        ((0, 1, 1, 0), [[1, 3], [2, 4]]),
        ((0, -1, -1, 0), [[4, 2], [3, 1]]),
    ],
)
def test_all_eight(matrix, corners):
    assert orient(PICTURE, matrix)[..., 0].tolist() == corners
    scaled = tuple(0.5 * value for value in matrix)
    assert orient(PICTURE, scaled)[..., 0].tolist() == corners, "the size of the matrix is no matter"
    assert swaps_sides(matrix) == (matrix[0] == 0)


def test_a_matrix_of_nothing_changes_nothing():
    assert np.array_equal(orient(PICTURE, (0, 0, 0, 0)), PICTURE)


def test_side_data_is_read_as_ffmpeg_writes_it():
    data = struct.pack("=9i", 0, 65536, 0, -65536, 0, 0, 7, 8, 1 << 30)
    assert read_display_matrix(data) == (0, 1, -1, 0)
    assert read_display_matrix(struct.pack("=9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)) == UPRIGHT
