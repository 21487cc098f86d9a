"""Targets in their own units, and in those of a model."""

from typing import get_args

import numpy as np
import pytest

from m3ray.config.datasets import Target as TargetOption
from m3ray.errors import StudyError
from m3ray.features.target import TARGETS, Target


def test_shares_are_trained_on_as_they_are():
    values = np.array([0.2, 1.0], np.float32)
    target = Target.fit("hit_rate", values)
    assert target == Target("hit_rate", 0.0, 1.0)
    assert target.to_unit(values) is values
    assert target.from_unit(values) is values
    assert (target.is_share, target.is_mapped) == (True, False)


def test_d_prime_is_mapped_by_the_train_split_s_range_and_a_margin():
    # By hand: 1 to 3, range 2, 5 % of it 0.1 on either side.
    target = Target.fit("d_prime", np.array([1.0, 3.0, 2.0]))
    assert (target.low, target.high) == pytest.approx((0.9, 3.1))
    assert target.to_unit(np.array([0.9, 2.0, 3.1])) == pytest.approx([0.0, 0.5, 1.0])
    assert target.span == pytest.approx(2.2)
    assert (target.is_share, target.bounds) == (False, (-np.inf, np.inf))


@pytest.mark.parametrize("name", TARGETS)
def test_the_maps_are_each_other_s_inverse_in_the_values_type(name):
    values = np.array([-0.0011, -0.0002, -0.0007], np.float32)
    target = Target.fit(name, values)
    unit = target.to_unit(values)
    assert unit.dtype == np.float32
    assert ((unit > 0) & (unit < 1)).all()
    np.testing.assert_allclose(target.from_unit(unit), values, rtol=1e-5)


def test_equal_values_that_need_a_map_are_refused():
    with pytest.raises(StudyError, match="all train values of d_prime are 2: there is nothing to learn"):
        Target.fit("d_prime", np.array([2.0, 2.0]))


def test_every_target_of_the_command_line_has_its_bounds():
    assert set(get_args(TargetOption)) - {"short", "long"} == set(TARGETS)
