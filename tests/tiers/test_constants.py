"""Constants that are uploaded once to each device."""

import pytest
import torch
from counting import META, count_operations
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from m3ray.tiers import constants
from m3ray.tiers.constants import constant

CPU = torch.device("cpu")


def ramp(length):
    return torch.arange(length, dtype=torch.float64)


@pytest.fixture(autouse=True)
def _empty():
    constants._place.cache_clear()
    yield
    constants._place.cache_clear()


def test_a_constant_is_made_once_for_each_device_type_and_number():
    made = []

    def make(length):
        made.append(length)
        return ramp(length)

    for _ in range(3):
        assert constant(make, 3, device=CPU).tolist() == [0, 1, 2]
        assert constant(make, 3, device=META).device == META
        assert constant(make, 3, device=CPU, dtype=torch.int64).dtype == torch.int64
        assert len(constant(make, 4, device=CPU)) == 4
    assert made == [3, 3, 3, 4]


def test_a_constant_is_uploaded_once():
    assert count_operations(lambda: ramp(3).to(META)).uploads == 1
    assert count_operations(lambda: constant(ramp, 3, device=META)).uploads == 0


def test_constants_of_inference_serve_training():
    with torch.inference_mode():
        first = constant(ramp, 2, device=CPU)
    weights = torch.ones(2, requires_grad=True)
    (weights * first).sum().backward()
    assert weights.grad.tolist() == [0, 1]
    assert constant(ramp, 2, device=CPU) is first


def test_tensors_without_numbers_are_not_kept():
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert isinstance(constant(ramp, 5, device=CPU), FakeTensor)
    assert type(constant(ramp, 5, device=CPU)) is torch.Tensor


def test_what_is_kept_is_bounded():
    for length in range(2 * constants._KEPT):
        constant(ramp, length, device=CPU)
    assert constants._place.cache_info().currsize == constants._KEPT
