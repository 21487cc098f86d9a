"""How work is cut into blocks, and when a running extraction stops. No Ray task runs."""

import pyarrow as pa
import pytest
from mean_tier import FOLDERS, MeanTier

from m3ray.config import ComputeConfig, LimitsConfig, TierConfigs
from m3ray.console import LineKeeper
from m3ray.errors import M3RayError
from m3ray.pipelines.extraction import dataflow
from m3ray.pipelines.extraction.dataflow import Settings, _split_into_blocks, _track_progress
from m3ray.pipelines.extraction.planning import Plan
from m3ray.pipelines.extraction.records import WORK
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.progress import Progress
from m3ray.schema import REJECTS
from m3ray.storage.root import Root

SETTINGS = Settings(TierConfigs(), LimitsConfig(), ComputeConfig(), Resources(2, 0))


def work(count):
    rows = [{"clip_id": f"{k}", "uri": f"/{k}", "tiers": ["mean"]} for k in range(count)]
    return pa.Table.from_pylist(rows, schema=WORK)


def plan_of(root, clips=0, rejected=0):
    return Plan(root, (MeanTier(),), FOLDERS, work(clips), {"mean": clips}, {"mean": 0}, rejected)


@pytest.mark.parametrize(
    ("clips", "cpus", "blocks"),
    [(1, 2, 1), (5, 2, 5), (100, 2, 8), (1000, 2, 15), (1000, 64, 256)],
    ids=["one", "a clip each", "four a CPU", "64 clips each", "many CPUs"],
)
def test_blocks_are_many_and_hold_every_clip_once(clips, cpus, blocks):
    parts = _split_into_blocks(work(clips), cpus)
    assert len(parts) == blocks
    assert pa.concat_tables(parts)["clip_id"].to_pylist() == [f"{k}" for k in range(clips)]
    sizes = [part.num_rows for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_the_driver_s_records_of_blocks_are_bounded(monkeypatch):
    monkeypatch.setattr(dataflow, "_MAX_BLOCKS", 7)
    assert len(_split_into_blocks(work(1000), 64)) == 7


def counts(done, rejected, storage_failed=0):
    return {
        "done": done,
        "rejected": rejected,
        "storage_failed": storage_failed,
        "seconds": [("decode", 0.5), ("mean", 1.0)],
    }


def track(plan, rows, max_rejects):
    with LineKeeper(), Progress("extract", 1000, "CPUs") as progress:
        _track_progress(iter(rows), progress, plan, max_rejects)
    return progress


def test_counts_and_seconds_are_summed(tmp_path):
    progress = track(plan_of(Root(str(tmp_path))), [counts(3, 1), counts(2, 0)], None)
    assert (progress.done, progress.rejected) == (5, 1)
    assert dict(progress.seconds.by_stage) == {"decode": 1.0, "mean": 2.0}


def reject_all(root, count):
    rows = [
        {"clip_id": f"{k}", "uri": f"/{k}", "stage": "decode", "error": "damaged", "message": "words"}
        for k in range(count)
    ]
    root.write_shard(pa.Table.from_pylist(rows, schema=REJECTS), ("rejects",), {})


def test_a_job_stops_at_more_than_a_hundred_rejects_beyond_the_limit(tmp_path):
    """Earlier rejects count, and those that only the storage failed do not."""
    root = Root(str(tmp_path))
    reject_all(root, 3)
    plan = plan_of(root, rejected=60)
    assert track(plan, [counts(0, 40)], 10).rejected == 40, "of up to a hundred all clips get their reasons"
    assert track(plan, [counts(0, 50, storage_failed=10)], 10).rejected == 50
    assert track(plan, [counts(0, 41)], None).rejected == 41
    assert track(plan, [counts(0, 41)], 101).rejected == 41
    with pytest.raises(
        M3RayError, match=r"101 clips are rejected, more than the 10 of --max-rejects \(3 decode: damaged"
    ):
        track(plan, [counts(0, 41)], 10)


def test_a_plan_without_work_starts_nothing_and_is_tidied(tmp_path, monkeypatch):
    monkeypatch.setattr(dataflow, "start_ledger", lambda _: pytest.fail("an actor was started"))
    root = Root(str(tmp_path))
    with LineKeeper() as log:
        progress = dataflow.run(plan_of(root), SETTINGS)
    assert (progress.done, progress.total) == (0, 0)
    assert log.lines[-1].endswith("extract: nothing to compute, every clip is cached or rejected")
    assert root.read_json("artifacts", "tiers.json")["mean"]["folder"] == "mean-1", "its folders are the current ones"
