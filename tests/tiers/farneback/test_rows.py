"""The memory of the compiled loops."""

import numpy as np

from m3ray.tiers.farneback.definition import WINDOW
from m3ray.tiers.farneback.rows import MAX_WIDTH, RING, ROW, ROWS, U, repeat_ends, scratch_rows


def test_ends_are_repeated_into_both_margins():
    scratch = np.arange(20, dtype=np.float32)
    repeat_ends(scratch, U(4), U(3), U(5))
    assert scratch.tolist() == [0, 1, 2, 3, 7, 7, 7, 7, 8, 9, 10, 11, 11, 11, 11, 15, 16, 17, 18, 19]


def test_a_row_of_the_widest_frame_fits_with_its_margins():
    floats, corners = scratch_rows()
    assert int(ROW) >= MAX_WIDTH + 2 * (WINDOW // 2)
    assert len(floats) == (ROWS + 5 * RING) * int(ROW)
    assert len(corners) >= MAX_WIDTH
    assert RING > WINDOW, "a window's rows and the one that leaves it"
