"""Compaction: few files, each clip once, nothing lost by a crash in between."""

import pyarrow as pa
import pytest
from vector_rows import FOLDER, rows

from m3ray.storage import compaction
from m3ray.storage.compaction import compact, keep_rows, replace_rows, replace_shards
from m3ray.storage.root import Root


@pytest.fixture
def root(local):
    return local


def test_merging_keeps_rows_and_metadata(root):
    for name in "abcd":
        root.write_shard(rows(name), FOLDER, {"k": 1})
    compact(root, *FOLDER, without=pa.chunked_array([["b"]]))
    assert len(root.list_names(*FOLDER)) == 1
    assert root.read_ids(*FOLDER).to_pylist() == ["a", "c", "d"]
    assert root.read_shard_metadata(*FOLDER) == {"k": 1}


def test_large_files_are_left_and_repeats_go(root, monkeypatch):
    """Files of a good size are not read again at every job's end, unless a clip stands in two of them."""
    monkeypatch.setattr(compaction, "TARGET_BYTES", 100)
    for names in (("a", "b"), ("b", "c"), ("d",)):
        root.write_shard(rows(*names), FOLDER, {"k": 1})
    untouched = root.list_names(*FOLDER)
    compact(root, *FOLDER)
    assert sorted(root.read_ids(*FOLDER).to_pylist()) == ["a", "b", "c", "d"], "b stood twice"
    assert len(set(untouched) & set(root.list_names(*FOLDER))) == 2
    assert root.read_shard_metadata(*FOLDER) == {"k": 1}
    again = root.list_names(*FOLDER)
    compact(root, *FOLDER)
    assert root.list_names(*FOLDER) == again


def test_a_crash_while_merging_loses_and_doubles_nothing(root, monkeypatch):
    for name in "abc":
        root.write_shard(rows(name), FOLDER, {})
    monkeypatch.setattr(Root, "delete", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        compact(root, *FOLDER)
    assert root.read_shards(*FOLDER)["clip_id"].to_pylist() == ["a", "b", "c"]


def test_rows_that_are_replaced_leave_no_older_ones_behind(root):
    root.write_shard(rows("a", "b"), FOLDER, {"k": 1})
    replace_rows(root, rows("b", value=9.0), FOLDER, {"k": 1})
    assert {row["clip_id"]: row["x"][0] for row in root.read_shards(*FOLDER).to_pylist()} == {"a": 1.0, "b": 9.0}
    assert sorted(root.read_ids(*FOLDER).to_pylist()) == ["a", "b"]
    replace_shards(root, rows("c"), FOLDER, {"k": 2})
    assert root.read_ids(*FOLDER).to_pylist() == ["c"]
    assert root.read_shard_metadata(*FOLDER) == {"k": 2}


def test_shards_lose_the_rows_that_a_mask_leaves_out_and_empty_ones_go(root):
    root.write_shard(rows("a", "b"), FOLDER, {"k": 1})
    root.write_shard(rows("c"), FOLDER, {"k": 1})
    masks = {name: ids.to_numpy() == "b" for name, ids in root.read_ids_by_shard(*FOLDER).items()}
    keep_rows(root, FOLDER, masks)
    assert root.read_ids(*FOLDER).to_pylist() == ["b"]
    assert len(root.list_names(*FOLDER)) == 1


def test_a_folder_without_shards_stays_so(root):
    compact(root, *FOLDER, without=pa.chunked_array([["a"]]))
    assert root.list_names(*FOLDER) == []
