"""A run from its start to its end: its summary, its last event and its result line."""

import json

import pytest

from m3ray.config.options import ExtractOptions
from m3ray.console import LineKeeper
from m3ray.errors import JobFailedError, StudyError
from m3ray.pipelines.runtime.events import Event
from m3ray.pipelines.runtime.job import Job
from m3ray.pipelines.runtime.job_run import JobRun, result_line
from m3ray.storage.root import Root


def make_job(folder, *, begun=True, **summary):
    return Job(Root(str(folder)), "extract", summary, has_begun=begun)


@pytest.mark.parametrize(
    ("status", "summary", "begun", "words"),
    [
        ("success", {}, True, "done"),
        ("success", {"clips": 5, "rejected": 0}, True, "every clip has its features"),
        ("partial", {"clips": 5, "rejected": 2}, True, "2 of 5 clips rejected, reasons in ROOT/rejects"),
        (
            "partial",
            {"clips": 5, "rejected": 2, "storage_failed": 1},
            True,
            "2 of 5 clips rejected (1 of them for the storage alone: the next run tries these again), "
            "reasons in ROOT/rejects",
        ),
        ("stopped", {}, True, "what was committed stays; the same command goes on from there"),
        ("failed", {}, True, "what was committed stays; the error stands in the last line"),
        ("failed", {}, False, "nothing was done; the error stands in the last line"),
    ],
)
def test_the_result_line(tmp_path, status, summary, begun, words):
    line = result_line(make_job(tmp_path, begun=begun, **summary), status, dry=False)
    assert line == f"extract: result: {status}: {words.replace('ROOT', str(tmp_path))}"


def test_rejects_lie_in_the_job_s_workspace(tmp_path):
    job = make_job(tmp_path, clips=3, rejected=1)
    job.workspace = Root(str(tmp_path / "predict"))
    assert result_line(job, "partial", dry=False).endswith(
        f"1 of 3 clips rejected, reasons in {tmp_path}/predict/rejects"
    )


def test_a_dry_run_says_that_nothing_was_written(tmp_path):
    job = make_job(tmp_path)
    assert result_line(job, "success", dry=True) == "extract: result: success: a dry run, nothing was written"
    assert result_line(job, "failed", dry=True).startswith("extract: result: failed: what was committed stays")


@pytest.fixture
def events(tmp_path):
    with LineKeeper() as lines:
        run = JobRun(make_job(tmp_path, begun=False), ExtractOptions(out=str(tmp_path)), lines)
        received = []
        lines.subscriber = received.append
        yield run, received


def test_a_run_ends_once(events):
    run, received = events
    first = run.finish("stopped", None)
    assert run.finish("failed", StudyError("too late")) is first
    assert [event.name for event in received] == ["stopped"]
    assert run.status == "stopped"


def test_the_last_event_carries_the_counts_and_the_error(events):
    run, received = events
    run.job.set_outcome(10, 2, 1)
    event, log = run.finish("failed", StudyError("too few clips"))
    assert received == [event]
    assert event == Event("failed", "too few clips", {"status": "failed", "clips": 10, "rejected": 2}, event.at)
    assert log is None, "m3ray's own errors need no traceback"


def test_a_failure_before_the_record_leaves_its_log_elsewhere(events):
    run, _ = events
    failure = run.end("failed", JobFailedError("KeyError: 'x'"))
    message, _, path = str(failure).partition("; traceback in ")
    assert message == "KeyError: 'x'"
    with open(path) as file:
        assert "JobFailedError: KeyError: 'x'" in file.read()


def test_the_summary_has_pace_and_stage_only_while_the_job_runs(tmp_path):
    with LineKeeper() as lines:
        run = JobRun(make_job(tmp_path), ExtractOptions(out=str(tmp_path)), lines)
        run.job.current_stage = "study"
        run.begin()
        counts = {"clips_done": 1, "clips_per_second": 2.0, "seconds_left": 3}
        run.record.counts = lambda: counts
        summaries = {}
        for status in ("running", "failed", "success"):
            run.status = status
            summaries[status] = run._summary()
        run.status = "success"
        run.record.write_now()
        run.record.close()
    assert {"stage": "study", **counts}.items() <= summaries["running"].items()
    assert (summaries["failed"]["stage"], summaries["failed"]["clips_done"]) == ("study", 1)
    assert {"clips_per_second", "seconds_left"}.isdisjoint(summaries["failed"])
    assert {"stage", "clips_done"}.isdisjoint(summaries["success"])
    written = json.loads((tmp_path / "runs" / run.name / "summary.json").read_text())
    assert (written["status"], written["job"], written["run"]) == ("success", "extract", run.name)


def test_the_table_stands_before_the_result_line(tmp_path, capsys):
    with LineKeeper() as lines:
        run = JobRun(make_job(tmp_path, clips=2, rejected=1), ExtractOptions(out=str(tmp_path)), lines)
        run.job.places, run.job.current_stage = [("features", "there")], "study"
        run.begin()
        run.end("failed", StudyError("too few clips"))
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "extract: summary:"
    assert [line.split()[0] for line in shown[1:-1]] == ["clips", "in", "ended", "features", "log"]
    assert shown[-1].startswith("extract: result: failed")
    assert (tmp_path / "runs" / run.name / "log.txt").read_text().count("summary:") == 1
