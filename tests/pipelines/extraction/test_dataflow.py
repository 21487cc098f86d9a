"""How work is cut into blocks, and when a running extraction stops. No Ray task runs."""

from dataclasses import replace
from unittest.mock import Mock

import pyarrow as pa
import pytest
from mean_tier import FOLDERS, MeanTier

from m3ray.config import ComputeConfig, LimitsConfig, TierConfigs
from m3ray.console import LineKeeper
from m3ray.errors import LostDeviceError, M3RayError
from m3ray.pipelines.extraction import dataflow, decode_stage
from m3ray.pipelines.extraction.dataflow import Settings, _count_actors, _split_into_blocks, _track_progress
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
        "deferred": [],
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


def test_rows_that_a_gpu_left_are_neither_done_nor_rejected(tmp_path):
    rows = [counts(3, 0) | {"deferred": [("7@a", "a")]}, counts(0, 1) | {"deferred": [("b", "b")]}]
    with LineKeeper(), Progress("extract", 6, "CPUs") as progress:
        deferred = _track_progress(iter(rows), progress, plan_of(Root(str(tmp_path))), 0)
    assert deferred == {"7@a": "a", "b": "b"}
    assert (progress.done, progress.rejected) == (3, 1)


def on_gpus(gpus, **compute):
    return Settings(TierConfigs(), LimitsConfig(), ComputeConfig(clips_per_batch=8, **compute), Resources(8, gpus))


@pytest.mark.parametrize(
    ("clips", "gpus", "banned", "per_gpu", "actors"),
    [(1000, 4, 0, 1, 4), (1000, 4, 0, 2, 8), (64, 4, 0, 1, 2), (8, 4, 1, 1, 2), (8, 4, 3, 2, 8), (8, 4, 4, 1, 4)],
    ids=["a GPU each", "two a GPU", "four batches each", "one beside a banned one", "three banned", "all banned"],
)
def test_a_pool_has_a_sound_gpu(tmp_path, clips, gpus, banned, per_gpu, actors):
    settings = on_gpus(gpus, actors_per_gpu=per_gpu)
    assert _count_actors(plan_of(Root(str(tmp_path)), clips), settings, banned) == actors


@pytest.mark.parametrize(("clips", "cpus", "threads"), [(1, 16, 4), (8, 16, 2), (16, 16, 1), (100, 16, 1), (1, 1, 1)])
def test_cores_that_would_idle_help_to_decode(tmp_path, monkeypatch, clips, cpus, threads):
    made = []
    monkeypatch.setattr(decode_stage, "Decoder", lambda *_, threads: made.append(threads) or Mock())
    decode_stage.process_decoder.cache_clear()
    settings = replace(SETTINGS, resources=Resources(cpus, 0))
    stage = dataflow._make_decode_stage(plan_of(Root(str(tmp_path)), clips), settings, None)
    list(stage(work(0)))
    decode_stage.process_decoder.cache_clear()
    assert made == [threads]


class Devices:
    """Answers for the ledger: how many GPUs are banned after each pass."""

    def __init__(self, banned):
        self.banned = list(banned)

    def ask(self, ledger, method, *args):
        return {"count_banned": lambda: self.banned.pop(0), "describe_banned": lambda: "no GPU is left"}[method]()


def decode(batch):
    yield batch


def passes(monkeypatch, results, banned):
    """Run passes that leave what `results` says: number of computed clips, and the rows that are left."""
    ran = []

    def run_pass(plan, settings, rows, decode, ledger):
        done, left = results[len(ran)]
        ran.append((plan.work["clip_id"].to_pylist(), rows, decode))
        progress = Progress("extract", rows, "GPUs")
        progress.done = done
        return progress, left

    monkeypatch.setattr(dataflow, "_run_pass", run_pass)
    monkeypatch.setattr(dataflow, "ask_devices", Devices(banned).ask)
    return ran


def test_what_banned_gpus_leave_is_computed_in_further_passes(tmp_path, monkeypatch):
    ran = passes(monkeypatch, [(2, {"0@1": "1", "1@1": "1"}), (1, {"1@1": "1"}), (1, {})], [1, 1])
    plan = plan_of(Root(str(tmp_path)), 3)
    with LineKeeper() as log:
        progress = dataflow._compute(plan, SETTINGS, 6, lambda _: decode, None)
    assert [(clips, rows) for clips, rows, _ in ran] == [(["0", "1", "2"], 6), (["1"], 2), (["1"], 1)]
    assert [stage.clip_ids for _, _, stage in ran[1:]] == [{"0@1", "1@1"}, {"1@1"}]
    assert progress.done == 4
    assert log.lines[0].endswith("extract: GPUs that are not used any more left 2 clips, which others compute now")


def test_a_pass_that_computed_nothing_is_followed_by_one_on_another_gpu_or_by_the_end(tmp_path, monkeypatch):
    ran = passes(monkeypatch, [(0, {"1": "1"}), (0, {"1": "1"}), (9, {})], [1, 1])
    with pytest.raises(LostDeviceError, match="no GPU is left"):
        dataflow._compute(plan_of(Root(str(tmp_path)), 3), SETTINGS, 3, lambda _: decode, None)
    assert len(ran) == 2


def test_a_plan_without_work_starts_nothing_and_is_tidied(tmp_path, monkeypatch):
    monkeypatch.setattr(dataflow, "start_ledger", lambda _: pytest.fail("an actor was started"))
    root = Root(str(tmp_path))
    with LineKeeper() as log:
        progress = dataflow.run(plan_of(root), SETTINGS)
    assert (progress.done, progress.total) == (0, 0)
    assert log.lines[-1].endswith("extract: nothing to compute, every clip is cached or rejected")
    assert root.read_json("artifacts", "tiers.json")["mean"]["folder"] == "mean-1", "its folders are the current ones"


def lose(monkeypatch, tmp_path, results):
    """Run `_compute_lost` on three clips, of which each computation ends `results` more; ids of what was computed."""
    monkeypatch.setattr(dataflow, "prepare", lambda plan: plan)
    computed, done = [], []

    def compute(plan, settings, rows, make_decode_stage, ledger):
        computed.append(plan.work["clip_id"].to_pylist())
        progress = Progress("extract", rows, "CPUs")
        progress.done = results.pop(0)
        done.append(progress.done)
        return progress

    monkeypatch.setattr(dataflow, "_compute", compute)
    root = Root(str(tmp_path))
    missing = plan_of(root, 3)
    plan = replace(missing, replan=lambda only: replace(missing, work=missing.work.slice(sum(done))))
    progress = compute(plan, SETTINGS, 3, None, None)
    dataflow._compute_lost(plan, SETTINGS, None, None, progress)
    return computed, progress


def test_clips_whose_windows_waited_in_a_ledger_that_died_are_computed_again(tmp_path, monkeypatch):
    computed, progress = lose(monkeypatch, tmp_path, [1, 1, 1])
    assert computed == [["0", "1", "2"], ["1", "2"], ["2"]]
    assert progress.done == 3


def test_a_job_whose_clips_all_have_rows_computes_none_again(tmp_path, monkeypatch):
    computed, _ = lose(monkeypatch, tmp_path, [3])
    assert len(computed) == 1


def test_decoding_goes_to_nodes_with_gpus_first():
    """By the label that Ray gives a node for its GPU; types are those of `cluster.yaml`."""
    ((label, types),) = dataflow._NEAR_GPUS.items()
    assert label == "ray.io/accelerator-type"
    assert {"L4", "A10G", "H100"} <= set(types.removeprefix("in(").removesuffix(")").split(","))
