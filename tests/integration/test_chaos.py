"""Fault injection: each series of `benchmarks/chaos.py`, shortened, leaves every clip once and unchanged."""

import chaos
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]  # all, so that what they are compared with is made once


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    return chaos.prepare(tmp_path_factory.mktemp("chaos"), clips=12, seed=1)


COUNTS = {"drivers": 1, "actors": 2, "nodes": 1, "full": 1, "faults": 10}


@pytest.mark.parametrize(("series", "count"), COUNTS.items())
def test_nothing_is_lost_nothing_is_twice_and_every_number_is_the_same(setting, series, count):
    outcome = chaos.SERIES[series](setting, count)
    assert outcome.disturbances >= count, "something was killed"
    assert outcome.is_sound, outcome.row()
