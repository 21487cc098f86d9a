"""Adam's arithmetic on a block of float32 weights in one compiled pass: each number is read and written once.

PyTorch's fused Adam divides twice a weight; on a block that lies in cache this takes two thirds of its time. It lets go
of the interpreter's lock, so that runs on other threads go on meanwhile.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Contracting to fused operations and reordering is allowed; infinities and NaN keep their meaning: runs may diverge.
_jit = njit(fastmath={"contract", "reassoc", "nsz", "arcp"}, error_model="numpy", nogil=True, cache=True)


@_jit
def update_weights(weights: Floats, gradient: Floats, first: Floats, second: Floats, numbers: Floats) -> None:
    """Update weights and their moments in place, from their gradient.

    Args:
        weights: weights, float32, (N,), contiguous, as are the next three.
        gradient: their gradient, without weight decay.
        first: mean of the gradients.
        second: mean of their squares.
        numbers: learning rate over the first moment's bias correction; one over the square root of the second's;
            weight decay; weight of the new gradient in `first`; of the old value in `second`; of the new square in
            `second`; what keeps the divisor above zero. Float32, (7,).
    """
    rate, scale, decay, new_first = numbers[0], numbers[1], numbers[2], numbers[3]
    keep_second, new_second, eps = numbers[4], numbers[5], numbers[6]
    for k in range(weights.size):
        g = gradient[k] + decay * weights[k]
        m = first[k] + new_first * (g - first[k])
        v = keep_second * second[k] + new_second * g * g
        first[k] = m
        second[k] = v
        weights[k] -= rate * m / (np.sqrt(v) * scale + eps)
