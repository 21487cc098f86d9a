"""The compiled update by hand; against PyTorch's in test_optimiser.py."""

import numpy as np
import pytest

from m3ray.training.adam_kernel import update_weights


def update(weight, gradient, decay=0.0):
    arrays = [np.array([x], np.float32) for x in (weight, gradient, 0.0, 0.0)]
    # First step: the corrections 1 - 0.9 and 1 - 0.999 make the moments the gradient and its square.
    numbers = (0.01 / 0.1, 1 / np.sqrt(0.001), decay, 0.1, 0.999, 0.001, 1e-8)
    update_weights(*arrays, np.array(numbers, np.float32))
    return [float(a[0]) for a in arrays]


def test_the_first_step_is_the_rate_in_the_gradient_s_direction():
    weight, _, first, second = update(1.0, -3.0)
    assert weight == pytest.approx(1.01, rel=1e-6)
    assert (first, second) == pytest.approx((-0.3, 0.009), rel=1e-6)


def test_weight_decay_is_part_of_the_gradient():
    weight, gradient, first, _ = update(2.0, 0.0, decay=0.5)
    assert weight == pytest.approx(1.99, rel=1e-6)
    assert gradient == 0.0, "the gradient itself stays"
    assert first == pytest.approx(0.1, rel=1e-6)


def test_what_is_not_a_number_stays_so():
    assert np.isnan(update(1.0, float("nan"))[0])
