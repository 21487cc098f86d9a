"""What there is to compute, and which rejects stay."""

import pyarrow as pa
import pytest
from digest_tier import TIERS, compute, fill, folder, holds, write_listed
from small_plans import make_plan, reject

from m3ray.config import TierConfigs
from m3ray.datasets.catalogue import write_catalogue
from m3ray.errors import DamagedFileError
from m3ray.pipelines.extraction.planning import plan
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.dataset_folders import DatasetOrigin
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, read_tier_table, update_tier_index


def test_what_another_way_of_decoding_rejected_is_tried_again(tmp_path):
    root = Root(str(tmp_path))
    reject(root, "a", "decode")
    reject(root, "b", "tier:raw")
    update_tier_index(root, {"facts": TierEntry("facts-of-before")})
    assert make_plan(root, "raw").work["clip_id"].to_pylist() == ["a"]
    update_tier_index(root, {"facts": TierEntry(make_plan(root, "raw").folders["facts"][1])})
    assert make_plan(root, "raw").work["clip_id"].to_pylist() == []


def test_a_shard_that_was_cut_short_is_named_with_what_to_do(tmp_path):
    root = Root(str(tmp_path))
    known = make_plan(root, "raw")
    path = root.write_shard(pa.table({"clip_id": ["a", "b"], "x": [1.0, 1.0]}), known.folders["raw"], {})
    with open(path, "r+b") as file:
        file.truncate(100)
    with pytest.raises(DamagedFileError, match=r"part-\w+\.parquet is damaged or cut short .*: delete it and run"):
        make_plan(root, "raw")


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path / "root"))


def test_a_changed_clip_leaves_the_tiers_that_are_not_asked_for_too(root, tmp_path):
    fill(tmp_path / "v", 3)
    compute(root, write_listed(root, tmp_path / "v"))
    (tmp_path / "v" / "0" / "0000.mp4").write_bytes(b"new")
    compute(root, write_listed(root, tmp_path / "v"), tiers=TIERS[:1])
    assert sorted(read_tier_table(root, "two")["clip_id"].to_pylist()) == ["1/0001.mp4", "2/0002.mp4"]
    assert read_tier_table(root, "one").num_rows == 3


def test_a_plan_alone_changes_nothing(root, tmp_path):
    fill(tmp_path / "v", 3)
    compute(root, write_listed(root, tmp_path / "v"))
    (tmp_path / "v" / "0" / "0000.mp4").write_bytes(b"new")
    catalogue, before = write_listed(root, tmp_path / "v"), root.read_shards("features", folder(root, "one"))
    assert plan(root, catalogue, TIERS, TierConfigs(), retry=False).changed == 1
    assert root.read_shards("features", folder(root, "one")) == before


def test_clips_of_one_content_wait_for_the_first_of_them(root, tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.mp4").write_bytes(b"same")
    (tmp_path / "d.mp4").write_bytes(b"other")
    rows = catalogue_table([Clip(name, f"{tmp_path}/{name}.mp4") for name in "abcd"])
    catalogue = write_catalogue(root, rows, 0, origin=DatasetOrigin(by="hash"))
    planned, done = compute(root, catalogue)
    assert (done, planned.duplicates.to_pylist(), planned.missing["one"]) == (["a", "d"], ["b", "c"], 2)
    assert "2 to compute, 0 cached, 0 rejected earlier, 2 taken from clips of the same content" in planned.lines()[0]
    assert compute(root, catalogue)[1] == []
    assert holds(root, catalogue)
    assert holds(root, catalogue, "two")
