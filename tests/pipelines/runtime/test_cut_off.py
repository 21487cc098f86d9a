"""What a job tells of the run before it, from the summary that a killed run leaves."""

import pytest

from m3ray.pipelines.runtime.cut_off import describe_killed_run
from m3ray.storage.root import Root

SUMMARY = {
    "status": "running", "job": "extract", "started": 1_800_000_000.0, "wall_seconds": 720.0, "pid": 7, "host": "h",
    "clips_done": 20, "clips_total": 1000,
}  # fmt: skip


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path))


def record(root, second, job, **values):
    run = f"20270115T0800{second:02d}Z-{job}-0a1b"
    root.write_json({**SUMMARY, "job": job, **values}, "runs", run, "summary.json")
    return run


def test_a_killed_run_is_told_with_how_far_it_came(root):
    run = record(root, 0, "extract")
    assert describe_killed_run(root, "train") == (
        "the run before, extract of 2027-01-15 08:00:00 UTC (process 7 on h), was cut off; its last sign came after "
        f"12 min, 20 of 1000 clips done; its log: {root.uri}/runs/{run}/log.txt"
    )


def test_before_its_first_clip_there_is_no_count(root):
    root.write_json(
        {name: value for name, value in SUMMARY.items() if not name.startswith("clips")},
        "runs", "20270115T080000Z-extract-0a1b", "summary.json",
    )  # fmt: skip
    assert "came after 12 min; its log" in describe_killed_run(root, "extract")


@pytest.mark.parametrize("status", ["success", "partial", "failed", "stopped"])
def test_only_the_last_run_counts_and_only_if_it_did_not_end(root, status):
    record(root, 0, "extract")
    record(root, 1, "train", status=status)
    assert describe_killed_run(root, "extract") == ""


def test_predict_works_beside_the_others(root):
    record(root, 0, "predict")
    assert describe_killed_run(root, "extract") == "", "that one may be running"
    record(root, 1, "train")
    assert "the run before, predict of" in describe_killed_run(root, "predict")
    assert "the run before, train of" in describe_killed_run(root, "extract")


def test_what_another_program_left_hinders_no_job(root):
    assert describe_killed_run(root, "extract") == ""
    root.write_bytes(b"{", "runs", "20270115T080000Z-extract-0a1b", "summary.json")
    assert describe_killed_run(root, "extract") == ""
    root.write_json({}, "runs", "locks", "study.json")
    root.write_json({}, "runs", "20270115T080001Z-extract-0a1b", "summary.json")
    assert describe_killed_run(root, "extract") == ""
