"""A root for a dry run reads, and discards what is written."""

import pytest

from m3ray.storage.dry_root import DryRoot
from m3ray.storage.root import Root


@pytest.fixture
def root(tmp_path):
    Root(str(tmp_path)).write_json({"k": 1}, "folder", "a.json")
    return DryRoot(str(tmp_path))


def test_nothing_is_written_or_deleted(root):
    assert root.write_json({"k": 2}, "folder", "b.json") == root.path("folder", "b.json")
    root.delete("folder", "a.json")
    root.delete_folder("folder")
    assert root.list_names("folder") == ["a.json"]
    assert root.read_json("folder", "a.json") == {"k": 1}


def test_a_root_below_is_dry_too(root):
    below = root.subroot("folder")
    below.write_bytes(b"x", "c.json")
    assert below.list_names() == ["a.json"]
