"""What surrounds a job: its record, its last line, and where a traceback goes. No Ray is started."""

import json
import re
from pathlib import Path

import pytest

from m3ray.config.options import ExtractOptions
from m3ray.errors import JobFailedError, RootBusyError, StudyError
from m3ray.pipelines.runtime import job as surrounding
from m3ray.pipelines.runtime.job import run_job
from m3ray.storage.root import Root


def options(folder, **others):
    return ExtractOptions(out=str(folder / "o"), **others)


def run_of(folder):
    (run,) = [path for path in (folder / "o" / "runs").iterdir() if path.name != "locks"]
    return run


def test_a_job_that_went_through(tmp_path, capsys):
    with run_job("extract", options(tmp_path)) as job, job.stage("study"):
        pass
    assert json.loads((run_of(tmp_path) / "summary.json").read_text())["status"] == "success"
    assert capsys.readouterr().out.splitlines()[-1] == "extract: result: success: done"


def test_an_unforeseen_error_is_one_line_and_its_traceback_in_the_run_s_log(tmp_path, capsys):
    with (
        pytest.raises(JobFailedError) as caught,
        run_job("extract", options(tmp_path)) as job,
        job.stage("similarity"),
    ):
        {}["folder"]
    message = str(caught.value)
    log = run_of(tmp_path) / "log.txt"
    assert message.startswith(f"similarity under {tmp_path}/o: KeyError: 'folder'")
    assert message.endswith(f"traceback in {log}")
    assert caught.value.is_reported
    assert isinstance(caught.value.__cause__, KeyError)
    assert "Traceback (most recent call last)" in log.read_text()
    assert "test_job.py" in log.read_text()
    output = capsys.readouterr()
    assert "Traceback" not in output.out + output.err
    assert output.out.splitlines()[-1].startswith("extract: result: failed: what was committed stays")
    assert "KeyError" in json.loads((run_of(tmp_path) / "summary.json").read_text())["error"]


def test_an_error_of_ours_stays_what_it_is(tmp_path):
    own = StudyError("too few")
    with pytest.raises(StudyError) as caught, run_job("extract", options(tmp_path)):
        raise own
    assert caught.value is own
    assert "Traceback" in (run_of(tmp_path) / "log.txt").read_text()


def test_a_full_disk_is_said_and_the_log_lies_elsewhere(tmp_path, monkeypatch):
    """Every write fails from the first one within the job on, that of its own record too."""
    write_bytes = Root.write_bytes

    def full(self, data, *parts):
        if parts[-1] != "lock.json":
            raise OSError(28, "No space left on device", self.path(*parts))
        return write_bytes(self, data, *parts)

    def fills_up(job):
        monkeypatch.setattr(Root, "write_bytes", full)
        job.root.write_json({}, "catalogue.json")

    with pytest.raises(JobFailedError) as caught, run_job("extract", options(tmp_path)) as job:
        fills_up(job)
    message = str(caught.value)
    assert message.startswith(f"extract under {tmp_path}/o: the disk is full")
    assert "catalogue.json" in message
    assert "run the same command again" in message
    place = Path(message.rpartition("; traceback in ")[2])
    assert tmp_path not in place.parents
    assert "No space left on device" in place.read_text()
    place.unlink()


def test_a_file_cut_short_on_a_full_disk_is_the_disk_s_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(surrounding, "is_full", lambda place: True)
    message = r"the disk is full .*no room left on .*EOFError"
    with pytest.raises(JobFailedError, match=message), run_job("extract", options(tmp_path)):
        raise EOFError("Ran out of input")


def test_a_root_in_use_gets_no_record_of_a_second_job(tmp_path, capsys):
    with run_job("train", options(tmp_path)):
        capsys.readouterr()
        with pytest.raises(RootBusyError, match="in use by train"), run_job("extract", options(tmp_path)):
            pass
        assert capsys.readouterr().out.splitlines()[-1].startswith("extract: result: failed: nothing was done")
    assert re.search(r"-train-\w{4}$", run_of(tmp_path).name)


def test_ctrl_c_leaves_a_record_and_goes_on(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt), run_job("extract", options(tmp_path)):
        raise KeyboardInterrupt
    assert json.loads((run_of(tmp_path) / "summary.json").read_text())["status"] == "stopped"
    assert "extract: result: stopped" in capsys.readouterr().out


def test_a_dry_run_leaves_nothing_even_when_it_fails(tmp_path, capsys):
    with run_job("extract", options(tmp_path, dry_run=True)) as job:
        job.root.write_json({}, "x.json")
    assert capsys.readouterr().out == "extract: result: success: a dry run, nothing was written\n"
    with (
        pytest.raises(JobFailedError, match="traceback in") as caught,
        run_job("extract", options(tmp_path, dry_run=True)),
    ):
        raise KeyError("x")
    Path(str(caught.value).rpartition("; traceback in ")[2]).unlink()
    assert list(tmp_path.iterdir()) == []
