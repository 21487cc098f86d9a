"""Where a node keeps what it has fetched."""

from pathlib import Path

from m3ray.storage.node_cache import node_cache


def test_the_cache_is_where_its_variable_says_and_else_below_the_user_s(monkeypatch, tmp_path):
    monkeypatch.setenv("M3RAY_CACHE", str(tmp_path / "own"))
    assert node_cache("bundles") == tmp_path / "own" / "bundles"
    monkeypatch.delenv("M3RAY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert node_cache("weights") == tmp_path / "xdg" / "m3ray" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert node_cache("bundles") == Path.home() / ".cache" / "m3ray" / "bundles"
