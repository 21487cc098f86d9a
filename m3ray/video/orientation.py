"""Orientation of pictures: the display matrix of a video rotates and mirrors what its stream holds."""

from __future__ import annotations

import math
import struct

import numpy as np

UPRIGHT = (1.0, 0.0, 0.0, 1.0)


def read_display_matrix(side_data: bytes) -> tuple[float, float, float, float]:
    """Read the part of a display matrix that rotates and mirrors.

    Args:
        side_data: FFmpeg's AV_PKT_DATA_DISPLAYMATRIX, nine int32 in the machine's order: (a, b, u, c, d, v, x, y, w).
    Returns:
        (a, b, c, d), as factors.
    """
    values = struct.unpack("=9i", side_data[:36])
    return values[0] / 65536, values[1] / 65536, values[3] / 65536, values[4] / 65536


def swaps_sides(matrix: tuple[float, float, float, float]) -> bool:
    """Tell whether width and height are exchanged.

    Args:
        matrix: (a, b, c, d) of the display matrix.
    Returns:
        Whether it rotates by one quarter or by three.
    """
    return _quarter_turns(matrix) % 2 == 1


def orient(picture: np.ndarray, matrix: tuple[float, float, float, float]) -> np.ndarray:
    """Rotate and mirror a picture to one of eight orientations, as ffmpeg's autorotation does.

    A matrix that rotates by anything but quarters is taken for the nearest quarter.

    Args:
        picture: picture as decoded, (H, W, 3).
        matrix: (a, b, c, d) of the display matrix.
    Returns:
        A view of it, (H, W, 3) or (W, H, 3).
    """
    a, _, c, d = matrix
    turns = _quarter_turns(matrix)
    if turns == 1:
        return np.rot90(picture, k=1)[::-1] if c > 0 else np.rot90(picture, k=-1)
    if turns == 3:
        return np.rot90(picture, k=-1)[::-1] if c < 0 else np.rot90(picture, k=1)
    if turns == 2:
        return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return picture[::-1] if d < 0 else picture


def _quarter_turns(matrix: tuple[float, float, float, float]) -> int:
    """Clockwise quarters, 0 to 3, that the matrix turns by; mirroring does not count."""
    a, b, c, d = matrix
    across, down = math.hypot(a, c), math.hypot(b, d)
    if across == 0 or down == 0:
        return 0
    return round(math.atan2(b / down, a / across) / (math.pi / 2)) % 4
