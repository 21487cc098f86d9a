"""Content stamps of rows and of fits."""

import pyarrow as pa
import pytest

from m3ray.schema import CONTENT
from m3ray.storage.root import Root
from m3ray.storage.shard_stamps import (
    count_changed_since_fit,
    read_feature_stamps,
    read_stamps,
    read_stamps_by_shard,
    write_fit_stamps,
)


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path / "root"))


def test_a_fit_knows_how_many_of_its_clips_have_changed(root):
    def clips(*contents):
        return pa.table({"clip_id": [f"{k}" for k in range(len(contents))], CONTENT: list(contents)})

    assert count_changed_since_fit(root, "hog_pca", clips("1:1 a")) == 0, "nothing was noted"
    write_fit_stamps(root, "hog_pca", clips("1:1 a", "2:2 b", "3:3 c"))
    assert count_changed_since_fit(root, "hog_pca", clips("1:1 a", "2:2 b", "3:3 c", "4:4 d")) == 0
    assert count_changed_since_fit(root, "hog_pca", clips("1:1 a", "2:9 b", "3:3 d")) == 2
    assert count_changed_since_fit(root, "hog_pca", clips("1:1 a")) == 0, (
        "a clip that is listed no more has not changed"
    )


def write_features(root, folder, stamps):
    table = pa.table(
        {"clip_id": list(stamps), "x": [1.0] * len(stamps), CONTENT: pa.array(stamps.values(), pa.string())}
    )
    root.write_shard(table, ("features", folder), {})


def test_stamps_are_read_shard_by_shard(root):
    write_features(root, "raw-1", {"b": "2:2 b", "a": None})
    write_features(root, "raw-1", {"c": "3:3 c"})
    shards = read_stamps_by_shard(root, "features", "raw-1")
    assert set(shards) == set(root.list_names("features", "raw-1"))
    assert sorted(tuple(table["clip_id"].to_pylist()) for table in shards.values()) == [("a", "b"), ("c",)]
    rows = {row["clip_id"]: row[CONTENT] for row in read_stamps(root, "features", "raw-1").to_pylist()}
    assert rows == {"a": None, "b": "2:2 b", "c": "3:3 c"}
    assert read_stamps(root, "features", "none").num_rows == 0


def test_folders_that_saw_other_contents_of_a_clip_name_them_all(root):
    write_features(root, "raw-1", {"a": "1:1 a", "b": "2:2 b", "old": None})
    write_features(root, "scene-1", {"a": "1:9 a", "b": "2:2 b"})
    assert read_feature_stamps(root, ["raw-1", "scene-1"]) == {"a": "1:1 a | 1:9 a", "b": "2:2 b"}
    assert read_feature_stamps(root, []) == {}
