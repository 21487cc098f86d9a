"""The polynomial expansion of a frame (Farneback 2003, section 3), compiled."""

from __future__ import annotations

import numpy as np

from m3ray.tiers.farneback.definition import POLY_N
from m3ray.tiers.farneback.rows import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    ROW,
    U,
    jit,
    repeat_ends,
)

_N = U(POLY_N)


@jit
def expand(frame, filters, fit, scratch, rows, pixels):
    """Fit a quadratic polynomial around each pixel of a frame: coefficients of y, x, y^2, x^2 and xy.

    Args:
        frame: values in [0, 255], float32, (H, W).
        filters: the Gaussian times 1, x and x^2, from its middle outwards, float32, (3, POLY_N + 1).
        fit: entries `linear`, `mixed`, `square` and `cross` of `ExpansionWeights`, float32.
        scratch: float rows from `scratch_rows`.
        rows: receives the coefficients as rows, float32, (H, 5, W).
        pixels: receives the coefficients pixel by pixel, float32, (H, W, 5).
    """
    height, width = frame.shape
    for y in range(height):
        _moments_in_y(frame, filters, y, scratch)
        _moments_in_x(filters, U(width), scratch)
        _polynomial(fit, U(y) * U(width) * U(5), U(width), scratch, rows.reshape(-1), pixels.reshape(-1))


@jit
def _moments_in_y(frame, filters, y, scratch):
    """Scratch rows 0 to 2: moments of 1, y and y^2, whose ends are repeated `_N` times to both sides."""
    height, width = frame.shape
    w, flat = U(width), frame.reshape(-1)
    here = U(y) * w
    for x in range(w):
        scratch[R0 + _N + x] = flat[here + x] * filters[0, 0]
        scratch[R1 + _N + x] = np.float32(0)
        scratch[R2 + _N + x] = np.float32(0)
    for k in range(1, POLY_N + 1):
        above, below = U(max(y - k, 0)) * w, U(min(y + k, height - 1)) * w
        one, linear, square = filters[0, k], filters[1, k], filters[2, k]
        for x in range(w):
            first, last = flat[above + x], flat[below + x]
            scratch[R0 + _N + x] += one * (first + last)
            scratch[R1 + _N + x] += linear * (last - first)
            scratch[R2 + _N + x] += square * (first + last)
    for row in (R0, R1, R2):
        repeat_ends(scratch, row, _N, w)


@jit
def _moments_in_x(filters, width, scratch):
    """Scratch rows 3 to 8: moments of 1, x, x^2, y, xy and y^2."""
    middle = filters[0, 0]
    for x in range(width):
        one, xx = scratch[R0 + _N + x] * middle, np.float32(0)
        moment_x, y, xy = np.float32(0), scratch[R1 + _N + x] * middle, np.float32(0)
        yy = scratch[R2 + _N + x] * middle
        for k in range(U(1), U(POLY_N + 1)):
            left, right = _N + x - k, _N + x + k
            weight, linear = filters[0, k], filters[1, k]
            both = scratch[R0 + left] + scratch[R0 + right]
            one += weight * both
            xx += filters[2, k] * both
            moment_x += linear * (scratch[R0 + right] - scratch[R0 + left])
            y += weight * (scratch[R1 + left] + scratch[R1 + right])
            xy += linear * (scratch[R1 + right] - scratch[R1 + left])
            yy += weight * (scratch[R2 + left] + scratch[R2 + right])
        scratch[R3 + x] = one
        scratch[R4 + x] = moment_x
        scratch[R5 + x] = xx
        scratch[R6 + x] = y
        scratch[R7 + x] = xy
        scratch[R8 + x] = yy


@jit
def _polynomial(fit, start, width, scratch, rows, pixels):
    """Coefficients of y, x, y^2, x^2 and xy from the moments, in both layouts."""
    linear, mixed, square, cross = fit
    for x in range(width):
        constant = scratch[R3 + x] * mixed
        scratch[R9 + x] = scratch[R6 + x] * linear
        scratch[R10 + x] = scratch[R4 + x] * linear
        scratch[R11 + x] = constant + scratch[R8 + x] * square
        scratch[R12 + x] = constant + scratch[R5 + x] * square
        scratch[R13 + x] = scratch[R7 + x] * cross
    for k in range(U(5)):
        for x in range(width):
            rows[start + k * width + x] = scratch[R9 + k * ROW + x]
    for x in range(width):
        for k in range(U(5)):
            pixels[start + x * U(5) + k] = scratch[R9 + k * ROW + x]
