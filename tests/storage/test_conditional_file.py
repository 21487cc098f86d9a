"""Compare-and-swap of small files, local and in S3."""

import pytest

from m3ray.storage.conditional_file import open_conditional_file
from m3ray.storage.object_store import ChangedError


@pytest.fixture(params=["local", "s3"])
def file(request, tmp_path):
    if request.param == "s3":
        request.getfixturevalue("server")
        return open_conditional_file(f"s3://locks/{tmp_path.name}/a.json")
    return open_conditional_file(str(tmp_path / "deep" / "a.json"))


def test_a_file_is_created_once(file):
    assert file.read() is None
    tag = file.replace(b"one", None)
    assert (file.read().data, file.read().tag) == (b"one", tag)
    with pytest.raises(ChangedError):
        file.replace(b"two", None)
    assert file.read().data == b"one"


def test_a_file_is_replaced_by_whoever_knows_its_version(file):
    first = file.replace(b"one", None)
    second = file.replace(b"two", first)
    assert second != first
    with pytest.raises(ChangedError):
        file.replace(b"three", first)
    assert file.read().data == b"two"


def test_a_file_that_is_gone_has_no_version(file):
    with pytest.raises(ChangedError):
        file.replace(b"two", "0" * 32)
    assert file.read() is None


def test_a_local_write_leaves_no_debris(tmp_path):
    file = open_conditional_file(str(tmp_path / "a.json"))
    file.replace(b"two", file.replace(b"one", None))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.json.guard", "a.json"]
