"""Options within their ranges."""

import pytest

from m3ray.errors import ConfigError
from m3ray.request.ranges import parse_max_rejects


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("20%", 20),
        ("0.2", 20),
        ("50", 50),
        ("0", 0),
        ("1", 1),
        ("100%", 100),
        ("1.0", 100),
        ("2.5 %", 2),
        ("500", 500),
        ("29%", 29),
        ("0.57", 57),
    ],
)
def test_a_share_or_a_number(text, most):
    assert parse_max_rejects(text, 100) == most


@pytest.mark.parametrize("text", ["many", "120%", "-1", "1.5", "", "-3%", "nan", "nan%", "1e3", "inf", "0x10", "1/2"])
def test_what_is_neither(text):
    with pytest.raises(ConfigError, match="expected a share"):
        parse_max_rejects(text, 100)
