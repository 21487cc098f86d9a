"""What there is to compute, and which rejects stay."""

from types import SimpleNamespace

import pyarrow as pa
import pytest

from m3ray.config import TierConfigs
from m3ray.errors import DamagedFileError
from m3ray.pipelines.extraction.planning import plan, tidy
from m3ray.schema import REJECTS
from m3ray.storage.root import Root
from m3ray.storage.tier_index import rejected_ids, remember_tiers


def tier(name):
    return SimpleNamespace(name=name, whole_clip=True, untrained=False, identity=lambda: {"tier": name})


def reject(root, clip_id, stage):
    row = {"clip_id": clip_id, "uri": f"/{clip_id}", "stage": stage, "error": "damaged", "message": "words"}
    root.write_shard(pa.Table.from_pylist([row], schema=REJECTS), ("rejects",), {})


def planned(root, *names):
    clips = pa.table({"clip_id": ["a", "b"], "uri": ["/a", "/b"]})
    return plan(root, clips, [tier(name) for name in names], TierConfigs(), retry=False)


def test_a_clip_that_a_tier_failed_keeps_its_row_while_it_lacks_the_tier(tmp_path):
    root = Root(str(tmp_path))
    both = planned(root, "raw", "scene")
    for name, ids in (("raw", ["a", "b"]), ("scene", ["a"])):
        root.write_shard(pa.table({"clip_id": ids, "x": [1.0] * len(ids)}), both.folders[name], {})
    tidy(both)
    reject(root, "b", "tier:scene")
    tidy(planned(root, "raw"))
    assert rejected_ids(root).to_pylist() == ["b"]
    root.write_shard(pa.table({"clip_id": ["b"], "x": [1.0]}), both.folders["scene"], {})
    tidy(planned(root, "raw", "scene"))
    assert rejected_ids(root).to_pylist() == []


def test_a_link_out_of_the_folder_stays_a_reject_though_it_had_features(tmp_path):
    root = Root(str(tmp_path))
    known = planned(root, "raw")
    root.write_shard(pa.table({"clip_id": ["a", "b"], "x": [1.0, 1.0]}), known.folders["raw"], {})
    reject(root, "b", "list")
    tidy(known)
    assert rejected_ids(root).to_pylist() == ["b"]


def test_what_another_way_of_decoding_rejected_is_tried_again(tmp_path):
    root = Root(str(tmp_path))
    reject(root, "a", "decode")
    reject(root, "b", "tier:raw")
    remember_tiers(root, {"facts": {"folder": "facts-of-before"}})
    assert planned(root, "raw").work["clip_id"].to_pylist() == ["a"]
    remember_tiers(root, {"facts": {"folder": planned(root, "raw").folders["facts"][1]}})
    assert planned(root, "raw").work["clip_id"].to_pylist() == []


def test_a_shard_that_was_cut_short_is_named_with_what_to_do(tmp_path):
    root = Root(str(tmp_path))
    known = planned(root, "raw")
    path = root.write_shard(pa.table({"clip_id": ["a", "b"], "x": [1.0, 1.0]}), known.folders["raw"], {})
    with open(path, "r+b") as file:
        file.truncate(100)
    with pytest.raises(DamagedFileError, match=r"part-\w+\.parquet is damaged or cut short .*: delete it and run"):
        planned(root, "raw")
