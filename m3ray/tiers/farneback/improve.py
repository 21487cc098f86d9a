"""One iteration of Farneback's displacement, compiled: each row is set up, summed and solved while in the cache."""

from __future__ import annotations

import numpy as np

from m3ray.tiers.farneback.definition import SINGULAR, WINDOW
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
    RING,
    ROW,
    ROWS,
    U,
    jit,
    repeat_ends,
)

_HALF = U(WINDOW // 2)
_AREA = np.float32(1 / WINDOW**2)
_EPSILON = np.float32(SINGULAR)


@jit
def improve(first, second, flow, weights, scratch, corners):
    """Improve a displacement by one iteration, in place.

    A row is written when the rows that need its old displacement have been read.

    Args:
        first: polynomials of the first frame, as rows of each coefficient, float32, (H, 5, W).
        second: polynomials of the second frame, pixel by pixel, float32, (H, W, 5).
        flow: displacement of each pixel, x then y, pixels, float32, (2, H, W); it is changed.
        weights: weight of each row, (H,), and of each column, (W,), float32.
        scratch: float rows from `scratch_rows`.
        corners: integer row from `scratch_rows`.
    """
    height, width = flow.shape[1], U(flow.shape[2])
    ring = scratch[int(ROW) * ROWS :]
    half = WINDOW // 2
    for y in range(min(half, height)):
        _normal_equations(first, second, flow, y, weights, scratch, ring, corners)
    # The sums of the window around the row before the first: rows above the frame repeat its first row.
    for k in range(U(5)):
        for x in range(width):
            scratch[k * ROW + _HALF + x] = ring[k * ROW + x] * np.float32(half + 2)
    for y in range(1, half):
        _add_row(scratch, ring, min(y, height - 1), width)
    sums = scratch[: 5 * int(ROW)].copy()
    for y in range(height):
        if y + half < height:
            _normal_equations(first, second, flow, y + half, weights, scratch, ring, corners)
        _add_row(sums, ring, min(y + half, height - 1), width)
        _subtract_row(sums, ring, max(y - half - 1, 0), width)
        _sum_neighbours(sums, width, scratch)
        _solve(U(y), width, scratch, flow.reshape(-1))


@jit
def _add_row(sums, ring, y, width):
    """Add row `y` of the equations to the sums over the window."""
    start = U(y % RING) * U(5) * ROW
    for k in range(U(5)):
        for x in range(width):
            sums[k * ROW + _HALF + x] += ring[start + k * ROW + x]


@jit
def _subtract_row(sums, ring, y, width):
    """Subtract row `y` of the equations from the sums over the window."""
    start = U(y % RING) * U(5) * ROW
    for k in range(U(5)):
        for x in range(width):
            sums[k * ROW + _HALF + x] -= ring[start + k * ROW + x]


@jit
def _normal_equations(first, second, flow, y, weights, scratch, ring, corners):
    """The normal equations of a row of pixels, weighted, into their row of the ring."""
    _locate(flow, y, scratch, corners)
    _sample(second.reshape(-1), U(flow.shape[2]), scratch, corners)
    _compare(first.reshape(-1), U(y), U(flow.shape[2]), scratch)
    _multiply(weights[0][y], weights[1], U(y % RING), U(flow.shape[2]), scratch, ring)


@jit
def _locate(flow, y, scratch, corners):
    """Where a row's pixels have moved to: rows 5 and 6 displacement, 8 to 11 bilinear weights, 13 whether inside."""
    height, width = flow.shape[1], U(flow.shape[2])
    flat, here, plane = flow.reshape(-1), U(y) * width, U(height) * width
    right, bottom, zero, one = np.float32(flow.shape[2] - 1), np.float32(height - 1), np.float32(0), np.float32(1)
    for x in range(width):
        scratch[R5 + x] = flat[here + x]
        scratch[R6 + x] = flat[plane + here + x]
    for x in range(width):
        at_x, at_y = np.float32(np.int32(x)) + scratch[R5 + x], np.float32(y) + scratch[R6 + x]
        inside = (at_x >= zero) & (at_y >= zero) & (at_x < right) & (at_y < bottom)
        at_x, at_y = at_x if inside else zero, at_y if inside else zero
        left, top = np.int32(at_x), np.int32(at_y)
        part_x, part_y = at_x - np.float32(left), at_y - np.float32(top)
        corner = part_x * part_y
        scratch[R8 + x] = one - part_x - part_y + corner
        scratch[R9 + x] = part_x - corner
        scratch[R10 + x] = part_y - corner
        scratch[R11 + x] = corner
        scratch[R13 + x] = one if inside else zero
        corners[x] = (top * np.int32(width) + left) * np.int32(5)


@jit
def _sample(second, width, scratch, corners):
    """Scratch rows 0 to 4: the second frame's coefficients where each pixel has moved to."""
    for x in range(width):
        top = U(corners[x])
        bottom = top + width * U(5)
        a, b, c, d = scratch[R8 + x], scratch[R9 + x], scratch[R10 + x], scratch[R11 + x]
        for k in range(U(5)):
            here, below = top + k, bottom + k
            upper = a * second[here] + b * second[here + U(5)]
            scratch[k * ROW + x] = upper + c * second[below] + d * second[below + U(5)]


@jit
def _compare(first, y, width, scratch):
    """Rows 0 and 1: half the change of the gradient; 2 to 4: the mean curvature. Outside, the second is flat."""
    start = y * U(5) * width
    half, quarter, zero = np.float32(0.5), np.float32(0.25), np.float32(0)
    for k in range(U(5)):
        for x in range(width):
            scratch[R8 + k * ROW + x] = first[start + k * width + x]
    for x in range(width):
        inside = scratch[R13 + x] > zero
        # All loads before the choices: a load that depends on a choice is not vectorised.
        own_yy, own_xx, own_xy = scratch[R10 + x], scratch[R11 + x], scratch[R12 + x]
        y_, x_ = scratch[R0 + x], scratch[R1 + x]
        yy, xx, xy = scratch[R2 + x], scratch[R3 + x], scratch[R4 + x]
        scratch[R0 + x] = (scratch[R8 + x] - (y_ if inside else zero)) * half
        scratch[R1 + x] = (scratch[R9 + x] - (x_ if inside else zero)) * half
        scratch[R2 + x] = (own_yy + (yy if inside else own_yy)) * half
        scratch[R3 + x] = (own_xx + (xx if inside else own_xx)) * half
        scratch[R4 + x] = (own_xy + (xy if inside else own_xy)) * quarter


@jit
def _multiply(row_weight, column_weights, slot, width, scratch, ring):
    """The products A'A and A'b of a row, weighted, into slot `slot` of the ring."""
    base = slot * R5
    for x in range(width):
        scratch[R7 + x] = column_weights[x] * row_weight
    for x in range(width):
        dx, dy, scale = scratch[R5 + x], scratch[R6 + x], scratch[R7 + x]
        yy, xx, xy = scratch[R2 + x], scratch[R3 + x], scratch[R4 + x]
        by = (scratch[R0 + x] + yy * dy + xy * dx) * scale
        bx = (scratch[R1 + x] + xy * dy + xx * dx) * scale
        yy, xx, xy = yy * scale, xx * scale, xy * scale
        ring[base + R0 + x] = yy * yy + xy * xy
        ring[base + R1 + x] = (yy + xx) * xy
        ring[base + R2 + x] = xx * xx + xy * xy
        ring[base + R3 + x] = yy * by + xy * bx
        ring[base + R4 + x] = xy * by + xx * bx


@jit
def _sum_neighbours(sums, width, scratch):
    """Scratch rows 2 to 6: sums of `WINDOW` neighbours in a row, from sums of two, four and eight."""
    for k in range(U(5)):
        row = k * ROW
        repeat_ends(sums, row, _HALF, width)
        for x in range(width + U(WINDOW - 2)):
            scratch[R0 + x] = sums[row + x] + sums[row + x + U(1)]
        for x in range(width + U(WINDOW - 4)):
            scratch[R1 + x] = scratch[R0 + x] + scratch[R0 + x + U(2)]
        for x in range(width):
            eight = scratch[R1 + x] + scratch[R1 + x + U(4)]
            seven = scratch[R1 + x + U(8)] + scratch[R0 + x + U(12)] + sums[row + x + U(14)]
            scratch[R2 + row + x] = eight + seven


@jit
def _solve(y, width, scratch, flow):
    """Displacements of a row that solve the averaged equations, (A'A)^-1 A'b, into the flow."""
    plane, here = U(flow.size) // U(2), y * width
    for x in range(width):
        a, b, c = scratch[R2 + x] * _AREA, scratch[R3 + x] * _AREA, scratch[R4 + x] * _AREA
        first, second = scratch[R5 + x] * _AREA, scratch[R6 + x] * _AREA
        scale = np.float32(1) / (a * c - b * b + _EPSILON)
        scratch[R7 + x] = (a * second - b * first) * scale
        scratch[R8 + x] = (c * first - b * second) * scale
    for x in range(width):
        flow[here + x] = scratch[R7 + x]
    for x in range(width):
        flow[plane + here + x] = scratch[R8 + x]
