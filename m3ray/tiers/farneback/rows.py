"""Scratch rows and compiler options of the compiled loops.

The loops are written for the compiler. Rows lie in one array, a constant apart, and indexes are unsigned: so it sees
without tests at run time that a loop's rows do not overlap and that no index counts from the end, and uses vector
instructions. Values are loaded before a choice between them is made, for the same reason.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from m3ray.tiers.farneback.definition import WINDOW

Floats = NDArray[np.float32]
U = np.uintp
# Floats from a row to the next; not a multiple of 4 KiB, else all rows would share the same few lines of the cache.
ROW = U(2128)
ROWS = 14
R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, R11, R12, R13 = (U(k) * ROW for k in range(ROWS))
RING = 16  # rows of equations in memory: a window's, and the one that leaves it
MAX_WIDTH = int(ROW) - 2 * WINDOW  # pixels: a row with its margins

# Contracting to fused operations and reordering sums is allowed; infinities and NaN keep their meaning.
jit = njit(
    fastmath={"contract", "reassoc", "nsz", "arcp"}, error_model="numpy", boundscheck=False, nogil=True, cache=True
)


def scratch_rows() -> tuple[Floats, NDArray[np.int32]]:
    """The memory that `expand` and `improve` work in.

    Returns:
        Float rows, and one row of integers for the index of the pixel that each pixel has moved to.
    """
    return np.empty((ROWS + RING * 5) * int(ROW), np.float32), np.empty(int(ROW), np.int32)


@jit
def repeat_ends(scratch, row, margin, width):
    """Repeat the first and the last number of a row into the margins before and after it.

    Args:
        scratch: array that the row lies in, float32.
        row: index in `scratch` at which the left margin starts.
        margin: length of each margin.
        width: length of the row between the margins.
    """
    first, last = scratch[row + margin], scratch[row + margin + width - U(1)]
    for x in range(margin):
        scratch[row + x] = first
        scratch[row + margin + width + x] = last
