import os
from types import SimpleNamespace

import pyarrow as pa
import pytest

from m3ray.errors import ConfigError, DecodeError, LostLockError, StudyError
from m3ray.schema import vector_schema
from m3ray.storage import compaction, filesystems
from m3ray.storage.compaction import compact, replace_rows, replace_shards
from m3ray.storage.root import Root, read_range
from m3ray.storage.tier_index import current_tiers, feature_folder, remember_tiers, stamped, tier_table
from m3ray.video.reader import read_video

FOLDER = ("features", "x-1")


def rows(*names, value=1.0):
    schema = vector_schema("x", 2)
    return pa.Table.from_pylist([{"clip_id": n, "x": [value, 2.0]} for n in names], schema=schema)


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path / "root"))


def test_a_shard_is_named_by_its_clips_so_a_retry_overwrites_itself(root):
    first = root.write_shard(rows("a", "b"), FOLDER, {})
    again = root.write_shard(rows("b", "a", value=3.0), FOLDER, {})
    assert first == again
    assert len(root.names(*FOLDER)) == 1


def test_reading_gives_one_row_a_clip_in_order(root):
    root.write_shard(rows("c", "a"), FOLDER, {"k": 1})
    root.write_shard(rows("a", "b"), FOLDER, {"k": 1})
    assert root.read_shards(*FOLDER)["clip_id"].to_pylist() == ["a", "b", "c"]
    assert sorted(root.ids(*FOLDER).to_pylist()) == ["a", "a", "b", "c"]
    assert root.shard_metadata(*FOLDER) == {"k": 1}


def test_merging_keeps_rows_and_metadata(root):
    for name in "abcd":
        root.write_shard(rows(name), FOLDER, {"k": 1})
    compact(root, *FOLDER, without=pa.chunked_array([["b"]]))
    assert len(root.names(*FOLDER)) == 1
    assert root.ids(*FOLDER).to_pylist() == ["a", "c", "d"]
    assert root.shard_metadata(*FOLDER) == {"k": 1}


def test_large_files_are_left_and_repeats_go(root, monkeypatch):
    """Files of a good size are not read again at every job's end, unless a clip stands in two of them."""
    monkeypatch.setattr(compaction, "GOOD_BYTES", 100)
    for names in (("a", "b"), ("b", "c"), ("d",)):
        root.write_shard(rows(*names), FOLDER, {"k": 1})
    untouched = root.names(*FOLDER)
    compact(root, *FOLDER)
    assert sorted(root.ids(*FOLDER).to_pylist()) == ["a", "b", "c", "d"], "b stood twice"
    assert len(set(untouched) & set(root.names(*FOLDER))) == 2
    assert root.shard_metadata(*FOLDER) == {"k": 1}
    again = root.names(*FOLDER)
    compact(root, *FOLDER)
    assert root.names(*FOLDER) == again


def test_a_range_of_clips_is_read_once_each_in_order(root):
    root.write_shard(rows("c", "a"), FOLDER, {})
    root.write_shard(rows("b", "c", "d"), FOLDER, {})
    assert read_range(root.shards(*FOLDER), "b", "c")["clip_id"].to_pylist() == ["b", "c"]


def test_a_crash_while_merging_loses_and_doubles_nothing(root, monkeypatch):
    for name in "abc":
        root.write_shard(rows(name), FOLDER, {})
    monkeypatch.setattr(Root, "delete", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        compact(root, *FOLDER)
    assert root.read_shards(*FOLDER)["clip_id"].to_pylist() == ["a", "b", "c"]


def test_a_write_that_fails_leaves_the_old_file_and_no_debris(root):
    root.write_bytes(b"old", "taken", "f.json")
    with pytest.raises(OSError, match="taken"):
        root.write_bytes(b"new", "taken")  # a folder has that name: the last step, the rename, fails
    assert root.read_bytes("taken", "f.json") == b"old"
    assert os.listdir(root.path()) == ["taken"]


def test_columns_are_plain_fixed_size_lists(root):
    root.write_shard(rows("a"), FOLDER, {})
    (name,) = root.names(*FOLDER)
    kind = root.read_table(*FOLDER, name).schema.field("x").type
    assert pa.types.is_fixed_size_list(kind)
    assert kind.list_size == 2


def test_unknown_places_are_named():
    with pytest.raises(ConfigError, match="local folder or an s3:// URI"):
        Root("ftp://host/x")


def test_rooms(root):
    with pytest.raises(StudyError, match="no features of tier raw"):
        tier_table(root, "raw")
    folder = feature_folder("raw", "abc")
    root.write_shard(rows("a"), folder, {})
    remember_tiers(root, {"raw": {"folder": folder[1]}})
    remember_tiers(root, {"event": {"folder": "event-1"}})
    assert set(current_tiers(root)) == {"raw", "event"}
    assert tier_table(root, "raw").num_rows == 1


def test_reading_videos(tmp_path):
    (tmp_path / "v").write_bytes(b"12345")
    assert read_video(str(tmp_path / "v"), 10) == b"12345"
    for uri, reason in (
        (tmp_path / "none", "missing_file"),
        (tmp_path, "not_a_file"),
        (tmp_path / "v", "too_many_bytes"),
    ):
        with pytest.raises(DecodeError) as caught:
            read_video(str(uri), 4)
        assert caught.value.reason == reason


def test_rows_that_are_replaced_leave_no_older_ones_behind(root):
    root.write_shard(rows("a", "b"), FOLDER, {"k": 1})
    replace_rows(root, rows("b", value=9.0), FOLDER, {"k": 1})
    assert {row["clip_id"]: row["x"][0] for row in root.read_shards(*FOLDER).to_pylist()} == {"a": 1.0, "b": 9.0}
    assert sorted(root.ids(*FOLDER).to_pylist()) == ["a", "b"]
    replace_shards(root, rows("c"), FOLDER, {"k": 2})
    assert root.ids(*FOLDER).to_pylist() == ["c"]
    assert root.shard_metadata(*FOLDER) == {"k": 2}


def test_what_rows_were_computed_from_is_no_feature(root):
    """A user's numbers may bear that name."""
    root.write_shard(rows("a").append_column("content", pa.array(["3:1 /a"])), FOLDER, {})
    root.write_shard(rows("b"), FOLDER, {})
    remember_tiers(root, {"x": {"folder": FOLDER[1]}})
    assert tier_table(root, "x").column_names == ["clip_id", "x"]
    assert sorted(stamped(root, *FOLDER).to_pylist(), key=str) == [
        {"clip_id": "a", "content": "3:1 /a"},
        {"clip_id": "b", "content": None},
    ]
    own = ("features", "own-1")
    root.write_shard(pa.table({"clip_id": ["a"], "content": [0.5]}), own, {})
    remember_tiers(root, {"own": {"folder": own[1]}})
    assert tier_table(root, "own").column_names == ["clip_id", "content"]
    assert stamped(root, *own)["content"].to_pylist() == [None]


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
