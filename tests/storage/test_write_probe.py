"""Whether a root can be written: tried by a write and a deletion."""

import pytest

from m3ray.errors import LostLockError
from m3ray.storage.root import Root
from m3ray.storage.write_probe import try_write


def test_what_can_be_written_is_left_as_it_was(tmp_path):
    root = Root(str(tmp_path))
    assert try_write(root) is None
    assert root.list_names("runs") == []


def test_a_write_that_fails_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file")
    failure = try_write(Root(str(tmp_path)))
    assert failure.action == "write"
    assert failure.uri.startswith(f"{tmp_path}/runs/write-test-")
    assert isinstance(failure.error, OSError)


def test_a_deletion_that_fails_is_told_apart(tmp_path, monkeypatch):
    def deny(self, *parts):
        raise PermissionError("no rights")

    monkeypatch.setattr(Root, "delete", deny)
    failure = try_write(Root(str(tmp_path)))
    assert (failure.action, str(failure.error)) == ("delete", "no rights")


def test_a_lost_lock_is_no_failure_of_the_storage(tmp_path):
    class Lost:
        def check(self):
            raise LostLockError("lost the lock")

    with pytest.raises(LostLockError):
        try_write(Root(str(tmp_path), Lost()))
