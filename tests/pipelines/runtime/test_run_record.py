"""The record of a run as the job goes on: what a kill leaves, what a failing storage does to it, and who reads it."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib import request as urlrequest

import pyarrow as pa
import pytest
from faulty_s3 import patch_environment, s3_environment, s3_server

from m3ray.config.options import ExtractOptions, PredictOptions
from m3ray.console import LineKeeper
from m3ray.errors import M3RayError
from m3ray.pipelines.runtime import run_record
from m3ray.pipelines.runtime.job import run_job
from m3ray.pipelines.runtime.progress import Progress
from m3ray.pipelines.runtime.run_record import RunRecord
from m3ray.reports.run_section import _describe_software, _read_runs, _summarise_costs, sum_runs
from m3ray.schema import CATALOGUE as COLUMNS
from m3ray.schema import CATALOGUE_FILE
from m3ray.storage.lock import Lock
from m3ray.storage.object_store import get_object
from m3ray.storage.ownership import check_root, is_root
from m3ray.storage.root import Root
from m3ray.storage.root_record import read_record

logger = logging.getLogger("m3ray.test")

JOB = """
import logging, sys, time
from m3ray.config.options import ExtractOptions
from m3ray.pipelines.runtime import run_record
from m3ray.pipelines.runtime.job import run_job
from m3ray.pipelines.runtime.progress import Progress

run_record._EVERY_SECONDS = float(sys.argv[2])
with run_job("extract", ExtractOptions(out=sys.argv[1])) as job, job.stage("extract"):
    with Progress("extract", 1000, "CPUs") as progress:
        while True:
            time.sleep(0.02)
            progress.add(2, 1, {"decode": 0.1})
            logging.getLogger("m3ray.test").info("a line")
"""


def start_job(root, every):
    return subprocess.Popen([sys.executable, "-c", JOB, str(root), str(every)], stdout=subprocess.DEVNULL)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            value = condition()
        except (OSError, ValueError, KeyError, IndexError):
            value = None
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("it did not come")


def run_of(root):
    (run,) = [path for path in (Path(root) / "runs").iterdir() if path.name != "locks"]
    return run


def summary_of(root):
    return json.loads((run_of(root) / "summary.json").read_text())


@pytest.fixture
def killed(tmp_path):
    """A root whose job was killed with -9 once 30 clips were on record."""
    root = tmp_path / "o"
    job = start_job(root, 0.1)
    wait_for(lambda: summary_of(root)["clips_done"] >= 20)
    job.kill()
    job.wait()
    return root, job.pid


def test_kill_9_leaves_config_log_summary_and_events(killed):
    root, pid = killed
    run = run_of(root)
    assert {path.name for path in run.iterdir() if not path.name.startswith(".")} == {
        "config.json", "summary.json", "log.txt", "events.jsonl",
    }  # fmt: skip
    summary = summary_of(root)
    assert (summary["status"], summary["job"], summary["run"], summary["pid"]) == ("running", "extract", run.name, pid)
    assert (summary["stage"], summary["clips_total"]) == ("extract", 1000)
    assert summary["clips_done"] == 2 * summary["clips_rejected"] > 0
    assert summary["clips_per_second"] > 0
    left = (1000 - summary["clips_done"] - summary["clips_rejected"]) / summary["clips_per_second"]
    assert summary["seconds_left"] == pytest.approx(left, abs=1)
    assert summary["started"] <= summary["updated"] <= time.time()
    assert summary["wall_seconds"] == pytest.approx(summary["updated"] - summary["started"])
    lines = (run / "log.txt").read_text().splitlines()
    assert lines[0].endswith("extract: 1000 clips to do")
    assert sum(line.endswith(" a line") for line in lines) > 5
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line) for line in lines)
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["started", "stage"]
    assert set(json.loads((run / "config.json").read_text())) >= {"options", "versions", "commit"}


def test_the_next_job_says_that_the_last_one_was_cut_off(killed, capsys):
    root, pid = killed
    cut = run_of(root)
    with run_job("predict", PredictOptions(out=str(root))):
        pass
    assert "cut off" not in capsys.readouterr().out, "predict works beside the others: that one may be running"
    with run_job("train", ExtractOptions(out=str(root))):
        pass
    (message,) = [line for line in capsys.readouterr().out.splitlines() if "cut off" in line]
    assert message.startswith("train: the run before, extract of 20")
    assert f"(process {pid} on " in message
    assert f"{summary_at(cut)['clips_done']} of 1000 clips done" in message
    assert message.endswith(f"its log: {cut}/log.txt")
    with run_job("train", ExtractOptions(out=str(root))):
        pass
    assert "cut off" not in capsys.readouterr().out, "the last one ended by itself"


def summary_at(run):
    return json.loads((run / "summary.json").read_text())


def test_whoever_reads_a_root_takes_a_run_that_did_not_end(killed):
    uri, _ = killed
    root = Root(str(uri))
    done = summary_of(uri)["clips_done"]
    assert (sum_runs(root)["runs"], sum_runs(root)["clips_done"]) == (1, done)
    assert is_root(root)
    check_root(root)
    runs = _read_runs(root)
    assert len(runs) == 1, "the locks are no run"
    assert f"1 run, {done} clips computed" in _describe_software(root, runs)["Over all runs"]
    assert _summarise_costs([summary for _, summary in runs], {}, 0.4) is None
    empty = pa.Table.from_pylist([], schema=COLUMNS)
    root.write_table(empty, CATALOGUE_FILE)
    assert read_record(root).dataset is None, "a run that did not end says nothing certain of the data set"


def test_the_record_is_there_at_the_job_s_start_and_at_each_stage(tmp_path):
    """Without waiting for the next half minute."""
    with run_job("extract", ExtractOptions(out=str(tmp_path / "o"))) as job:
        wait_for(lambda: "options" in json.loads((run_of(tmp_path / "o") / "config.json").read_text()))
        wait_for(lambda: summary_of(tmp_path / "o")["status"] == "running")
        with job.stage("similarity"):
            wait_for(lambda: summary_of(tmp_path / "o")["stage"] == "similarity")
        wait_for(lambda: summary_of(tmp_path / "o")["seconds"]["similarity"] >= 0)
    summary = summary_of(tmp_path / "o")
    assert (summary["status"], "stage" in summary, "seconds_left" in summary) == ("success", False, False)


def test_a_record_is_at_most_a_minute_old():
    """A killed job's: the time between two writings and that of one upload with its repetition."""
    assert run_record._EVERY_SECONDS + 2 * run_record._UPLOAD_SECONDS <= 60


def test_sigterm_leaves_a_finished_record(tmp_path):
    root = tmp_path / "o"
    job = start_job(root, 30)
    wait_for(lambda: summary_of(root)["stage"] == "extract")
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 128 + signal.SIGTERM
    summary = summary_of(root)
    assert summary["status"] == "stopped"
    assert summary["clips_done"] == 2 * summary["clips_rejected"]
    assert "extract: result: stopped" in (run_of(root) / "log.txt").read_text().splitlines()[-1]
    assert json.loads((run_of(root) / "events.jsonl").read_text().splitlines()[-1])["event"] == "stopped"
    assert json.loads((root / "runs" / "locks" / "study.json").read_text())["released"]


# A storage that fails.


def fail_writes(monkeypatch, fails):
    """The record's writing fails where `fails(how often it was tried)`; what was tried is counted."""
    tried = []
    written = run_record._RecordRoot.write_bytes

    def write(self, data, *parts):
        tried.append(parts[-1])
        if fails(len(tried)):
            raise OSError(5, "Input/output error", "/" + "/".join(parts))
        return written(self, data, *parts)

    monkeypatch.setattr(run_record._RecordRoot, "write_bytes", write)
    return tried


def test_a_fault_while_the_job_runs_is_passed_over_and_made_up_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run_record, "_EVERY_SECONDS", 0.05)
    tried = fail_writes(monkeypatch, lambda count: count <= 4)
    with run_job("extract", ExtractOptions(out=str(tmp_path / "o"))):
        logger.info("a line")
        wait_for(lambda: len(tried) > 6)
    assert capsys.readouterr().out.splitlines()[-1] == "extract: result: success: done"
    assert summary_of(tmp_path / "o")["status"] == "success"
    assert "a line" in (run_of(tmp_path / "o") / "log.txt").read_text()


def test_a_root_that_takes_no_record_does_not_fail_the_job(tmp_path, monkeypatch, capsys):
    fail_writes(monkeypatch, lambda count: True)
    with run_job("extract", ExtractOptions(out=str(tmp_path / "o"))):
        logger.info("a line")
    *_, record, last = capsys.readouterr().out.splitlines()
    assert last == "extract: result: success: done", "what a script greps stays the last line"
    assert "could not be written (OSError: [Errno 5] Input/output error" in record
    aside = Path(record.rpartition("it lies in ")[2])
    assert " a line\n" in aside.read_text()
    assert '"status": "success"' in aside.read_text()
    aside.unlink()


def test_a_storage_that_does_not_answer_does_not_hold_the_job(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run_record, "_LAST_SECONDS", 0.3)
    freed = threading.Event()
    monkeypatch.setattr(run_record._RecordRoot, "write_bytes", lambda self, data, *parts: freed.wait(60))
    start = time.monotonic()
    with run_job("extract", ExtractOptions(out=str(tmp_path / "o"))) as job:
        for _ in range(100):
            with job.stage("study"):
                pass
        assert time.monotonic() - start < 2, "what the job does waits for no record"
    assert time.monotonic() - start < 5
    freed.set()
    *_, record, last = capsys.readouterr().out.splitlines()
    assert last == "extract: result: success: done"
    assert "did not answer within" in record
    Path(record.rpartition("it lies in ")[2]).unlink()


def test_no_thread_is_left(tmp_path):
    with run_job("extract", ExtractOptions(out=str(tmp_path / "o"))):
        assert "m3ray-record" in {thread.name for thread in threading.enumerate()}
    wait_for(lambda: "m3ray-record" not in {thread.name for thread in threading.enumerate()}, 5)


def test_a_record_shows_no_lock(tmp_path):
    """A job that lost its lock still says so in its own folder."""
    with run_job("extract", ExtractOptions(out=str(tmp_path / "o"))) as job:
        lock = tmp_path / "o" / "runs" / "locks" / "study.json"
        assert job.root.fence is not None
        assert lock.exists()
        lock.unlink()
        job.current_stage = "alone"
        run = wait_for(lambda: run_of(tmp_path / "o"))
        (run / "summary.json").unlink(missing_ok=True)
        with job.stage("after"):
            wait_for(lambda: summary_at(run)["stage"] == "after")


# In S3.


@pytest.fixture(scope="module")
def bucket():
    with s3_server() as endpoint, patch_environment(s3_environment(endpoint)):
        urlrequest.urlopen(urlrequest.Request(f"{endpoint}/records", method="PUT"))
        yield "s3://records"


def test_in_s3_what_is_unchanged_is_not_uploaded_again(bucket, monkeypatch):
    uploads = []
    put = run_record.put_object

    def record_upload(uri, data, **given):
        uploads.append(uri.rpartition("/")[2])
        put(uri, data, **given)

    monkeypatch.setattr(run_record, "put_object", record_upload)
    with LineKeeper() as lines:
        record = RunRecord(f"{bucket}/r", "a-run", lines, lambda: {"options": {}}, lambda: {"status": "running"})
        logger.info("a line")
        assert record.write_now()
        assert sorted(uploads) == ["config.json", "log.txt", "summary.json"]
        uploads.clear()
        assert record.write_now()
        assert uploads == ["summary.json"], "its time is the sign of life; log and events are as they were"
        uploads.clear()
        logger.info("another")
        assert record.write_now()
        record.close()
    assert sorted(uploads) == ["log.txt", "summary.json"]
    log = get_object(f"{bucket}/r/runs/a-run/log.txt").data.decode()
    assert [line.partition(" ")[2] for line in log.splitlines()] == ["a line", "another"]


def test_a_job_in_s3_leaves_its_record_there(bucket):
    with run_job("extract", ExtractOptions(out=f"{bucket}/job")) as job, job.stage("extract"):
        with Progress("extract", 4, "CPUs") as progress:
            progress.add(4, 0, {})
        job.add_progress(progress)
    root = Root(f"{bucket}/job")
    (run,) = [name for name in root.list_names("runs") if name != "locks"]
    assert root.read_json("runs", run, "summary.json")["clips_done"] == 4
    assert root.read_bytes("runs", run, "log.txt").decode().splitlines()[-1].endswith("result: success: done")
    events = [json.loads(line) for line in root.read_bytes("runs", run, "events.jsonl").splitlines()]
    assert [event["event"] for event in events] == ["started", "stage", "stage", "done"]


def test_a_bucket_that_went_is_given_up_within_seconds(bucket, monkeypatch, capsys):
    def refuse(*_, **__):
        raise PermissionError("no rights")

    monkeypatch.setattr(run_record, "_LAST_SECONDS", 2.0)
    with run_job("extract", ExtractOptions(out=f"{bucket}/gone")):
        monkeypatch.setattr(run_record, "put_object", refuse)
        start = time.monotonic()
    assert time.monotonic() - start < 6
    *_, record, last = capsys.readouterr().out.splitlines()
    assert last == "extract: result: success: done"
    assert "PermissionError: no rights" in record
    os.unlink(record.rpartition("it lies in ")[2])


def test_the_lock_is_given_back_when_the_record_says_how_the_job_ended(tmp_path, monkeypatch):
    """Else the next job of the same work finds a run that says it is running, and calls it cut off."""
    seen = []
    release = Lock.release

    def release_and_record(lock):
        root = Path(lock.fence.uri).parents[2]
        seen.append(summary_of(root)["status"])
        release(lock)

    monkeypatch.setattr(Lock, "release", release_and_record)
    with run_job("extract", ExtractOptions(out=str(tmp_path / "o"))):
        pass
    with pytest.raises(M3RayError), run_job("extract", ExtractOptions(out=str(tmp_path / "other"))):
        raise M3RayError("went wrong")
    assert seen == ["success", "failed"]
