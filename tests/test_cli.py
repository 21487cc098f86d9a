"""Command lines."""

import pytest

from m3ray.cli import spelled_out


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([], []),
        (["--out", "x"], ["--out", "x"]),
        (["--unfrozen"], ["--unfrozen", "auto"]),
        (["--unfrozen", "--out", "x"], ["--unfrozen", "auto", "--out", "x"]),
        (["--unfrozen", "small", "--runs", "2"], ["--unfrozen", "small", "--runs", "2"]),
    ],
)
def test_unfrozen_alone_is_auto(given, meant):
    assert spelled_out(given) == meant
