"""The account of every clip: features, or a reject."""

import pyarrow as pa
import pytest
from mean_tier import FOLDERS, MeanTier

from m3ray.config import TierConfigs
from m3ray.config.options import WorkOptions
from m3ray.errors import M3RayError
from m3ray.pipelines.extraction import dataflow
from m3ray.pipelines.extraction.missing_features import check_none_missing, check_reject_share, compute_missing
from m3ray.pipelines.extraction.planning import Plan
from m3ray.pipelines.extraction.records import WORK
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.job import Job
from m3ray.pipelines.runtime.progress import Progress
from m3ray.schema import REJECTS
from m3ray.storage.root import Root


def test_a_clip_that_vanished_is_an_error_that_names_it(tmp_path, monkeypatch):
    root = Root(str(tmp_path))
    root.write_json({"facts": {"folder": "facts-1"}}, "artifacts", "tiers.json")
    catalogue = pa.table({"clip_id": ["a", "gone"], "uri": ["/a", "/gone"]})
    root.write_shard(pa.table({"clip_id": ["a"], "mean": [1.0]}), FOLDERS["mean"], {})
    plan = Plan(root, (MeanTier(),), FOLDERS, WORK.empty_table(), {}, {}, 0)
    monkeypatch.setattr(dataflow, "run", lambda *_args, **_: Progress("extract", 0, "CPUs"))
    with pytest.raises(M3RayError, match="1 clips, gone among them, have neither mean features nor a row in rejects"):
        compute_missing(
            plan, catalogue, TierConfigs(), WorkOptions(), Resources(1, 0), job=Job(root, "extract"), reads_checked=True
        )


def reject(root, *ids, error="damaged"):
    rows = [{"clip_id": name, "uri": name, "stage": "read", "error": error, "message": "words"} for name in ids]
    root.write_shard(pa.Table.from_pylist(rows, schema=REJECTS), ("rejects",), {})


def compute(root, monkeypatch, *ids):
    plan = Plan(root, (MeanTier(),), FOLDERS, WORK.empty_table(), {}, {}, 0)
    monkeypatch.setattr(dataflow, "run", lambda *_args, **_: Progress("extract", 0, "CPUs"))
    catalogue, job = pa.table({"clip_id": list(ids), "uri": list(ids)}), Job(root, "extract")
    compute_missing(plan, catalogue, TierConfigs(), WorkOptions(), Resources(1, 0), job=job, reads_checked=True)
    return job.summary


def test_every_clip_is_counted_once(tmp_path, monkeypatch):
    root = Root(str(tmp_path))
    root.write_shard(pa.table({"clip_id": ["a"], "mean": [1.0]}), FOLDERS["mean"], {})
    reject(root, "b")
    reject(root, "c", error="storage_failed")
    summary = compute(root, monkeypatch, "a", "b", "c")
    assert (summary["clips"], summary["rejected"], summary["storage_failed"]) == (3, 2, 1)


def test_a_job_whose_clips_all_failed_is_an_error(tmp_path, monkeypatch):
    root = Root(str(tmp_path))
    reject(root, "a", "b")
    with pytest.raises(M3RayError, match=r"every one of the 2 clips failed; .*rejects says why for each"):
        compute(root, monkeypatch, "a", "b")


def test_the_share_of_rejects_leaves_out_what_the_storage_failed(tmp_path):
    root, ids = Root(str(tmp_path)), pa.chunked_array([[f"{k}" for k in range(10)]])
    reject(root, "0", "1")
    reject(root, "2", error="storage_failed")
    check_reject_share(root, ids, WorkOptions(max_rejects="20%"))
    with pytest.raises(M3RayError, match="2 clips are rejected, more than the 1 of --max-rejects"):
        check_reject_share(root, ids, WorkOptions(max_rejects="1"))


def test_each_tier_of_the_plan_must_have_each_clip(tmp_path):
    root = Root(str(tmp_path))
    plan = Plan(root, (MeanTier(), MeanTier("raw")), FOLDERS, WORK.empty_table(), {}, {}, 0)
    for tier, ids in (("mean", ["a", "b"]), ("raw", ["a"])):
        root.write_shard(pa.table({"clip_id": ids, "x": [1.0] * len(ids)}), FOLDERS[tier], {})
    check_none_missing(plan, pa.chunked_array([["a"]]))
    with pytest.raises(M3RayError, match="1 clips, b among them, have neither raw features"):
        check_none_missing(plan, pa.chunked_array([["a", "b"]]))
