"""Versions."""

from importlib.metadata import version

from m3ray.commands.versions import describe_versions, find_version


def test_versions_are_those_of_the_metadata():
    assert find_version("torch") == version("torch")
    assert find_version("no-such-package-anywhere") is None
    assert f"Torch {version('torch')}, Ray {version('ray')})" in describe_versions()
