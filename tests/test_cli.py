"""Command lines."""

import sys
from pathlib import Path

import pytest

from m3ray.cli import main, spelled_out
from m3ray.config.options import ExtractOptions
from m3ray.errors import StudyError


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([], []),
        (["--out", "x"], ["--out", "x"]),
        (["--unfrozen"], ["--unfrozen", "auto"]),
        (["--unfrozen", "--out", "x"], ["--unfrozen", "auto", "--out", "x"]),
        (["--unfrozen", "small", "--runs", "2"], ["--unfrozen", "small", "--runs", "2"]),
    ],
)
def test_unfrozen_alone_is_auto(given, meant):
    assert spelled_out(given) == meant


def run(monkeypatch, job, *arguments):
    monkeypatch.setattr(sys, "argv", ["extract", *arguments])
    return main(ExtractOptions, job, "A job.")


def raising(error):
    def job(asked):
        raise error

    return job


def test_what_went_through_is_0_and_ctrl_c_130_and_quiet(monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, lambda asked: None, "--out", str(tmp_path / "o")) == 0
    assert run(monkeypatch, raising(KeyboardInterrupt()), "--out", str(tmp_path / "o")) == 130
    assert capsys.readouterr() == ("", "")


def test_an_error_is_the_last_line_and_the_result_the_one_before(monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, raising(StudyError("too few\nclips")), "--out", str(tmp_path / "o")) == 2
    said = capsys.readouterr()
    assert said.out.splitlines() == ["extract: result: failed: the error stands in the last line"]
    assert said.err == "error: too few clips\n"
    told = StudyError("too few clips")
    told.told = True
    assert run(monkeypatch, raising(told), "--out", str(tmp_path / "o")) == 2
    assert capsys.readouterr() == ("", "error: too few clips\n"), "the job has said its result itself"


def test_a_traceback_goes_to_the_root_s_log_else_to_a_file_of_its_own(monkeypatch, tmp_path, capsys):
    root = tmp_path / "root"
    (root / "artifacts").mkdir(parents=True)
    (root / "artifacts" / "tiers.json").write_text("{}")
    for out, inside in ((root, True), (tmp_path / "none", False)):
        assert run(monkeypatch, raising(KeyError("folder")), "--out", str(out)) == 1
        said = capsys.readouterr()
        (line,) = said.err.splitlines()
        assert line.startswith("error: KeyError: 'folder'")
        place = Path(line.rpartition("; traceback in ")[2])
        assert (root in place.parents) == inside
        assert "Traceback (most recent call last)" in place.read_text()
        assert "Traceback" not in said.out + said.err
        if not inside:
            place.unlink()
    assert not (tmp_path / "none").exists()


def test_help_is_help(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, raising(AssertionError), "--help")
    assert ended.value.code == 0
    assert "--out" in capsys.readouterr().out
