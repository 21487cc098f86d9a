"""The writing stage, called as a plain function: no cluster."""

import numpy as np
import pytest
from failing_storage import SleepClock, make_retry
from mean_tier import FOLDERS, MeanTier, gray_clip

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.pipelines.extraction.records import (
    ComputedClip,
    Failure,
    device_failure,
    pack_computed_clips,
    pack_decoded_clips,
)
from m3ray.pipelines.extraction.tier_columns import TierColumns
from m3ray.pipelines.extraction.tier_stage import TierStage
from m3ray.pipelines.extraction.write_stage import WriteStage
from m3ray.schema import vector, vector_schema
from m3ray.storage.rejects import read_rejected_ids
from m3ray.storage.root import Root


def test_the_writer_parts_features_facts_and_rejects(tmp_path):
    root = Root(str(tmp_path))
    stage = TierStage([MeanTier()], DecodeConfig(), LimitsConfig(), 1)
    batch = stage(pack_decoded_clips([gray_clip("a", 10), gray_clip("dark", 0)]))
    writer = WriteStage(root, [TierColumns("mean", MeanTier().schema)], FOLDERS, {"mean": {"k": 1}, "facts": {}})
    (counts,) = writer(batch).to_pylist()
    assert (counts["done"], counts["rejected"]) == (1, 1)
    assert dict(counts["seconds"])["decode"] == 1.0
    table = root.read_shards("features", "mean-1")
    assert table.to_pylist() == [{"clip_id": "a", "mean": [10.0, 10.0, 10.0]}]
    assert table.schema.field("mean").type == vector(3)
    assert root.read_shards("rejects").to_pylist()[0]["message"] == "ValueError: too dark"
    assert root.read_shards("features", "facts-1").to_pylist()[0]["video_bytes"] == 999


@pytest.fixture
def clock():
    return SleepClock()


def writer(root, retry):
    folders = {"mean": ("features", "mean-1"), "facts": ("features", "facts-1")}
    columns = [TierColumns("mean", vector_schema("mean", 1))]
    return WriteStage(root, columns, folders, {"mean": {}, "facts": {}}, retry)


def rows_to_write():
    rows = [
        ComputedClip("a", "/a", None),
        ComputedClip("b", "/b", None, failure=Failure("read", "storage_failed", "403 AccessDenied: cannot read /b")),
        ComputedClip("c", "/c", None, failure=Failure("decode", "damaged", "words")),
    ]
    return pack_computed_clips(rows, {"mean": [np.ones(1).tobytes(), None, None]})


def test_a_root_that_cannot_be_written_is_waited_for(tmp_path, clock, monkeypatch):
    root, write = Root(str(tmp_path)), Root.write_shard
    monkeypatch.setattr(Root, "write_shard", lambda self, *rest: write(self, *rest) if clock.now > 20 else full())

    def full():
        raise OSError(28, "No space left on device")

    retry = make_retry(clock, may_give_up=False)
    (counts,) = writer(root, retry)(rows_to_write()).to_pylist()
    assert {name: counts[name] for name in ("done", "rejected", "storage_failed")} == {
        "done": 1, "rejected": 2, "storage_failed": 1,
    }  # fmt: skip
    assert counts["seconds"]
    assert clock.now > 20
    assert read_rejected_ids(root).to_pylist() == ["b", "c"]
    assert read_rejected_ids(root, permanent=True).to_pylist() == ["c"], "the next job tries b again by itself"


def test_what_a_banned_gpu_left_is_no_reject_and_has_no_features(tmp_path):
    root = Root(str(tmp_path))
    rows = [
        ComputedClip("a", "/a", None, failure=device_failure()),
        ComputedClip("3@b", "/b", None, failure=device_failure(), source_clip_id="b", window_start=3),
        ComputedClip("c", "/c", None, failure=Failure("decode", "damaged", "words")),
    ]
    (counts,) = writer(root, None)(pack_computed_clips(rows, {"mean": [None] * 3})).to_pylist()
    assert (counts["done"], counts["rejected"], dict(counts["deferred"])) == (0, 1, {"a": "a", "3@b": "b"})
    assert read_rejected_ids(root).to_pylist() == ["c"]
    (counts,) = writer(root, None)(pack_computed_clips(rows[:1], {"mean": [None]})).to_pylist()
    assert (counts["done"], counts["rejected"], dict(counts["deferred"])) == (0, 0, {"a": "a"})
    assert root.read_shards("features", "mean-1") is None
