"""The tier index: entries as typed values, and as the JSON that every version wrote."""

import pyarrow as pa
import pytest
from vector_rows import FOLDER, rows

from m3ray.errors import DamagedFileError, StudyError
from m3ray.storage.shard_stamps import read_stamps
from m3ray.storage.tier_index import TierEntry, feature_folder, read_tier_index, read_tier_table, update_tier_index


@pytest.fixture
def root(local):
    return local


def test_the_index_keeps_each_tier_s_entry(root):
    with pytest.raises(StudyError, match="no features of tier raw"):
        read_tier_table(root, "raw")
    folder = feature_folder("raw", "abc")
    root.write_shard(rows("a"), folder, {})
    update_tier_index(root, {"raw": TierEntry(folder[1])})
    update_tier_index(root, {"event": TierEntry("event-1")})
    assert set(read_tier_index(root)) == {"raw", "event"}
    assert read_tier_table(root, "raw").num_rows == 1


def test_what_rows_were_computed_from_is_no_feature(root):
    """A user's numbers may bear that name."""
    root.write_shard(rows("a").append_column("content", pa.array(["3:1 /a"])), FOLDER, {})
    root.write_shard(rows("b"), FOLDER, {})
    update_tier_index(root, {"x": TierEntry(FOLDER[1])})
    assert read_tier_table(root, "x").column_names == ["clip_id", "x"]
    assert sorted(read_stamps(root, *FOLDER).to_pylist(), key=str) == [
        {"clip_id": "a", "content": "3:1 /a"},
        {"clip_id": "b", "content": None},
    ]
    own = ("features", "own-1")
    root.write_shard(pa.table({"clip_id": ["a"], "content": [0.5]}), own, {})
    update_tier_index(root, {"own": TierEntry(own[1])})
    assert read_tier_table(root, "own").column_names == ["clip_id", "content"]
    assert read_stamps(root, *own)["content"].to_pylist() == [None]


# As earlier versions wrote it, to the byte: a computed tier, a user-provided one, and the table of video metadata.
OLDER = b"""{
 "raw": {
  "folder": "raw-1",
  "untrained": false,
  "identity": {
   "tier": "raw",
   "config": {
    "fps": 15.0
   },
   "weights": {
    "sha256": "ab"
   }
  }
 },
 "text": {
  "folder": "text-2",
  "untrained": false,
  "brought": true,
  "scaled": true,
  "identity": {
   "columns": {
    "n": 1
   }
  }
 },
 "facts": {
  "folder": "facts-3"
 }
}
"""


def test_what_older_versions_wrote_is_read_and_written_to_the_byte(root):
    root.write_bytes(OLDER, "artifacts", "tiers.json")
    index = read_tier_index(root)
    assert index["raw"].config == {"fps": 15.0}
    assert index["raw"].weights == {"sha256": "ab"}
    assert index["raw"].path == ("features", "raw-1")
    assert not index["raw"].user_provided
    assert index["text"] == TierEntry("text-2", identity={"columns": {"n": 1}}, user_provided=True, scaled=True)
    assert (index["text"].config, index["text"].weights) == ({}, {})
    assert index["facts"] == TierEntry("facts-3")
    update_tier_index(root, {"raw": index["raw"]})
    assert root.read_bytes("artifacts", "tiers.json") == OLDER


@pytest.mark.parametrize(
    "values",
    [
        {"folder": "a-1"},
        {"folder": "a-1", "untrained": True, "identity": {}},
        {"folder": None, "untrained": True, "identity": {"tier": "tuned:event"}},  # of a bundle's own network
        {"folder": "a-1", "untrained": False, "brought": True, "scaled": False, "identity": {}},
    ],
)
def test_an_entry_and_its_json_are_one(values):
    assert TierEntry.from_json(values).as_json() == values
    assert list(TierEntry.from_json(values).as_json()) == list(values)


def test_an_update_replaces_whole_entries_and_keeps_the_others(root):
    update_tier_index(root, {"a": TierEntry("a-1", untrained=True, identity={"x": 1}), "b": TierEntry("b-1")})
    update_tier_index(root, {"a": TierEntry("a-2", identity={})})
    assert read_tier_index(root) == {"a": TierEntry("a-2", identity={}), "b": TierEntry("b-1")}


@pytest.mark.parametrize(
    "value", [[], {"raw": []}, {"raw": {"untrained": True}}, {"raw": {"folder": "r", "identity": 3}}]
)
def test_a_file_that_is_no_index_is_named_as_damaged(root, value):
    root.write_json(value, "artifacts", "tiers.json")
    with pytest.raises(DamagedFileError, match=r"artifacts/tiers\.json is damaged"):
        read_tier_index(root)


def test_a_folder_s_name_holds_no_colon():
    assert feature_folder("torchvision:resnet18", "0a1b") == ("features", "torchvision-resnet18-0a1b")


def test_a_tier_whose_shards_are_gone_is_missing(root):
    update_tier_index(root, {"raw": TierEntry("raw-1", identity={})})
    with pytest.raises(StudyError, match=r"run jobs/extract\.py --tiers raw first"):
        read_tier_table(root, "raw")
