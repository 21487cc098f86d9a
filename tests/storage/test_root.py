import os
from types import SimpleNamespace

import pyarrow as pa
import pytest
from vector_rows import FOLDER, rows

from m3ray.errors import ConfigError, LostLockError
from m3ray.storage import filesystems
from m3ray.storage.root import Root


@pytest.fixture
def root(local):
    return local


def test_a_shard_is_named_by_its_clips_so_a_retry_overwrites_itself(root):
    first = root.write_shard(rows("a", "b"), FOLDER, {})
    again = root.write_shard(rows("b", "a", value=3.0), FOLDER, {})
    assert first == again
    assert len(root.list_names(*FOLDER)) == 1


def test_reading_gives_one_row_a_clip_in_order(root):
    root.write_shard(rows("c", "a"), FOLDER, {"k": 1})
    root.write_shard(rows("a", "b"), FOLDER, {"k": 1})
    assert root.read_shards(*FOLDER)["clip_id"].to_pylist() == ["a", "b", "c"]
    assert sorted(root.read_ids(*FOLDER).to_pylist()) == ["a", "a", "b", "c"]
    assert root.read_shard_metadata(*FOLDER) == {"k": 1}


def test_a_write_that_fails_leaves_the_old_file_and_no_debris(root):
    root.write_bytes(b"old", "taken", "f.json")
    with pytest.raises(OSError, match="taken"):
        root.write_bytes(b"new", "taken")  # a folder has that name: the last step, the rename, fails
    assert root.read_bytes("taken", "f.json") == b"old"
    assert os.listdir(root.path()) == ["taken"]


def test_columns_are_plain_fixed_size_lists(root):
    root.write_shard(rows("a"), FOLDER, {})
    (name,) = root.list_names(*FOLDER)
    kind = root.read_table(*FOLDER, name).schema.field("x").type
    assert pa.types.is_fixed_size_list(kind)
    assert kind.list_size == 2


def test_unknown_places_are_named():
    with pytest.raises(ConfigError, match="local folder or an s3:// URI"):
        Root("ftp://host/x")


class Flaky:
    """A remote file system whose first delete has an effect, though its answer is lost.

    Args:
        during: called while it fails.
    """

    def __init__(self, during=lambda: None):
        self.deletes, self.during = 0, during

    def delete_file(self, path):
        self.deletes += 1
        if self.deletes > 1:
            raise FileNotFoundError(path)
        self.during()
        raise OSError("AWS Error SLOW_DOWN during DeleteObject operation")


@pytest.fixture
def flaky(root, monkeypatch):
    monkeypatch.setattr(filesystems.time, "sleep", lambda _: None)
    root.fs = Flaky()
    return root


def test_a_delete_whose_answer_was_lost_is_done(flaky):
    flaky.delete("a.parquet")
    assert flaky.fs.deletes == 2


def test_what_is_not_there_cannot_be_deleted(flaky):
    flaky.fs.deletes = 1
    with pytest.raises(FileNotFoundError):
        flaky.delete("a.parquet")


def test_a_lock_that_is_lost_while_a_delete_is_retried_ends_it(flaky):
    lost = []

    def check():
        if lost:
            raise LostLockError("lost the lock")

    flaky.fence, flaky.fs.during = SimpleNamespace(check=check), lambda: lost.append(True)
    with pytest.raises(LostLockError):
        flaky.delete("a.parquet")
    assert flaky.fs.deletes == 1
