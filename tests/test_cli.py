"""Command lines."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import m3ray
from m3ray.cli import OLD_OPTIONS, _has_option, main, rename_old_options
from m3ray.config.options import ExtractOptions, PredictOptions, TrainOptions
from m3ray.errors import StudyError

TOP = Path(__file__).parents[1]
JOBS = sorted(path.stem for path in (TOP / "jobs").glob("*.py"))
# What a job must be given besides --out.
NEEDED = {"evaluate": ["--bundles", "b", "--roots", "r"], "predict": ["--root", "videos"]}
# A job as it is run, with a line before each heavy library is imported, and an end at the first.
WATCHED = """
import os, runpy, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "ray", "sklearn", "scipy", "pandas", "matplotlib"):
            print("imports", name, flush=True)
            os._exit(9)

sys.meta_path.insert(0, Watch())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Group:
    crash_count: int = 3


@dataclass(frozen=True)
class Renamed(ExtractOptions):
    """Options of which a group and an option of another group have new names."""

    out: str = "x"
    finetune: Group = field(default_factory=Group)
    limits: Group = field(default_factory=Group)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], []),
        (["--out", "x"], ["--out", "x"]),
        (["--full.crash-count", "4"], ["--finetune.crash-count", "4"]),
        (["--full.crash_count=4", "--out", "x"], ["--finetune.crash-count=4", "--out", "x"]),
        (["--limits.strikes", "5"], ["--limits.crash-count", "5"]),
        (["--limits.crash-count", "5"], ["--limits.crash-count", "5"]),
        (["--root", "full", "--fuller.x", "1"], ["--root", "full", "--fuller.x", "1"]),
        (["--moments.step", "1"], ["--moments.step", "1"]),
    ],
)
def test_old_spellings_mean_the_new_ones_where_the_job_has_these(arguments, expected):
    assert rename_old_options(Renamed, arguments) == expected


def test_an_old_spelling_works_and_a_line_names_the_new_one(monkeypatch, tmp_path, capsys):
    requests = []
    out = ["--out", str(tmp_path / "o"), "--dry-run"]
    monkeypatch.setattr(sys, "argv", ["train", *out, "--limits.strikes", "2", "--full.epochs=3"])
    assert main(TrainOptions, requests.append, "A job.") == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "--limits.strikes is now called --limits.crash-count; the old name still works",
        "--full.epochs is now called --finetune.epochs; the old name still works",
    ]
    assert (requests[0].options.limits.crash_count, requests[0].options.finetune.epochs) == (2, 3)


def test_every_new_spelling_is_an_option_of_a_job():
    jobs = (TrainOptions, PredictOptions)
    assert all(any(_has_option(job, new) for job in jobs) for new in OLD_OPTIONS.values())
    assert not any(_has_option(job, old) for job in jobs for old in OLD_OPTIONS)


def test_what_never_was_an_option_is_not_called_one():
    assert rename_old_options(TrainOptions, ["--full.banana", "1"]) == ["--full.banana", "1"]
    assert rename_old_options(TrainOptions, ["--full.ema=0.9"]) == ["--finetune.ema=0.9"]


def test_a_spelling_that_the_job_does_not_have_is_left_to_tyro():
    assert rename_old_options(ExtractOptions, ["--full.epochs", "3"]) == ["--full.epochs", "3"]


@pytest.mark.parametrize("arguments", [["--unfrozen"], ["--unfrozen", "--runs", "2"]])
def test_unfrozen_needs_a_value_and_the_error_names_the_choices(monkeypatch, tmp_path, capsys, arguments):
    monkeypatch.setattr(sys, "argv", ["train", "--out", str(tmp_path / "o"), *arguments])
    assert main(TrainOptions, job_that_raises(AssertionError), "A job.") == 2
    assert capsys.readouterr().err == (
        "error: --unfrozen has no value: give one of none, auto, small, gpu80, gpu24x8; --help explains the options\n"
    )


def starting(job, out):
    return f"{job}: starting: m3ray {m3ray.__version__}, root {out}"


def run_watched(job, *arguments):
    command = [sys.executable, "-c", WATCHED, f"jobs/{job}.py", *arguments]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("job", JOBS)
def test_the_first_line_stands_before_libraries_that_take_seconds_are_imported(tmp_path, job):
    """Of the demo, whose request is sound, the next line is the watch's; other requests may be rejected before that."""
    done = run_watched(job, "--out", str(tmp_path / "o"), *NEEDED.get(job, []))
    first, following = done.stdout.splitlines()[:2]
    assert first == starting(job, tmp_path / "o")
    assert job not in ("extract", "reproduce") or following.startswith("imports "), done.stderr[-1500:]


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), (["--out", "o", "--datset", "demo"], 2)])
def test_help_and_wrong_options_are_answered_without_these_libraries(job, arguments, status):
    done = run_watched(job, *arguments)
    assert done.returncode == status, done.stdout[-500:] + done.stderr[-1500:]
    if status:
        assert "--datset" in done.stderr.splitlines()[-1]


def test_the_first_line_names_no_secret(monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, job_that_raises(AssertionError), "--out", "s3://key:secret@bucket/o") == 2
    output = capsys.readouterr()
    assert output.out.splitlines()[0] == starting("extract", "s3://***")
    assert "secret" not in output.out + output.err


def run(monkeypatch, job, *arguments):
    monkeypatch.setattr(sys, "argv", ["extract", *arguments])
    return main(ExtractOptions, job, "A job.")


def job_that_raises(error):
    def job(request):
        raise error

    return job


def test_what_went_through_is_0_and_ctrl_c_130_and_quiet(monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, lambda request: None, "--out", str(tmp_path / "o")) == 0
    assert run(monkeypatch, job_that_raises(KeyboardInterrupt()), "--out", str(tmp_path / "o")) == 130
    started = starting("extract", tmp_path / "o") + "\n"
    assert capsys.readouterr() == (2 * started, "")


def test_an_error_is_the_last_line_and_the_result_the_one_before(monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, job_that_raises(StudyError("too few\nclips")), "--out", str(tmp_path / "o")) == 2
    output = capsys.readouterr()
    started = starting("extract", tmp_path / "o")
    assert output.out.splitlines() == [started, "extract: result: failed: the error stands in the last line"]
    assert output.err == "error: too few clips\n"
    reported = StudyError("too few clips")
    reported.is_reported = True
    assert run(monkeypatch, job_that_raises(reported), "--out", str(tmp_path / "o")) == 2
    assert capsys.readouterr() == (f"{started}\n", "error: too few clips\n"), "the job has said its result itself"


def test_a_traceback_goes_to_the_root_s_log_else_to_a_file_of_its_own(monkeypatch, tmp_path, capsys):
    root = tmp_path / "root"
    (root / "artifacts").mkdir(parents=True)
    (root / "artifacts" / "tiers.json").write_text("{}")
    for out, inside in ((root, True), (tmp_path / "none", False)):
        assert run(monkeypatch, job_that_raises(KeyError("folder")), "--out", str(out)) == 1
        output = capsys.readouterr()
        (line,) = output.err.splitlines()
        assert line.startswith("error: KeyError: 'folder'")
        place = Path(line.rpartition("; traceback in ")[2])
        assert (root in place.parents) == inside
        assert "Traceback (most recent call last)" in place.read_text()
        assert "Traceback" not in output.out + output.err
        if not inside:
            place.unlink()
    assert not (tmp_path / "none").exists()


def test_help_is_help(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_request:
        run(monkeypatch, job_that_raises(AssertionError), "--help")
    assert exit_request.value.code == 0
    assert "--out" in capsys.readouterr().out
