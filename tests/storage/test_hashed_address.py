"""Addresses with the hash of what is there."""

import pytest

from m3ray.errors import ConfigError
from m3ray.storage.hashed_address import HashedAddress, parse_address

DIGITS = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"https://host/m3s.zip#sha256={DIGITS}", HashedAddress("https://host/m3s.zip", DIGITS)),
        (f"s3://bucket/m3s.zip#sha256={DIGITS.upper()}", HashedAddress("s3://bucket/m3s.zip", DIGITS)),
        ("https://host/m3s.zip", HashedAddress("https://host/m3s.zip")),
        ("models/take#2/m3s", HashedAddress("models/take#2/m3s")),
        (f"models/take#2.zip#sha256={DIGITS}", HashedAddress("models/take#2.zip", DIGITS)),
    ],
)
def test_the_hash_stands_behind_the_address(text, expected):
    assert parse_address(text) == expected


@pytest.mark.parametrize("digits", ["", "abc", DIGITS[:-1], DIGITS + "0", "g" * 64])
def test_anything_else_behind_the_mark_is_an_error(digits):
    with pytest.raises(ConfigError, match="expected the 64 hexadecimal digits"):
        parse_address(f"m3s.zip#sha256={digits}")
