"""The command m3ray: help, versions, unknown words, subcommands."""

import os
import subprocess
import sys

import pytest

from m3ray import cli
from m3ray.commands import dispatch, jobs
from m3ray.commands.catalogue import COMMANDS
from m3ray.commands.dispatch import describe_commands, main

# The command, with an end at the first import of a library that takes long.
WATCHED = """
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "ray", "sklearn", "scipy", "pandas", "matplotlib", "numpy", "tyro", "pyarrow"):
            os._exit(9)

sys.meta_path.insert(0, Watch())
from m3ray.commands.dispatch import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["--version"], ["sore"]])
def test_before_a_subcommand_nothing_heavy_is_imported(arguments):
    done = subprocess.run([sys.executable, "-c", WATCHED, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == (2 if arguments == ["sore"] else 0), done.stderr


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["--help-all"]])
def test_alone_it_prints_its_help(capsys, arguments):
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert text == describe_commands() + "\n"
    assert all(f"  {name} " in text for name in COMMANDS)
    assert len(text.splitlines()) <= 40
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("extrct", "m3ray has no command 'extrct': did you mean extract? m3ray --help lists the commands"),
        ("banana!", "m3ray has no command 'banana!': m3ray --help lists the commands"),
        ("--outt", "m3ray has no option '--outt': m3ray --help lists the commands"),
    ],
)
def test_an_unknown_subcommand_is_one_line_with_the_near_names(capsys, name, expected):
    assert main([name]) == 2
    assert capsys.readouterr() == ("", f"error: {expected}\n")


def test_short_help_names_the_long_one_and_the_long_one_has_the_rest(capsys):
    assert main(["train", "--help"]) == 0
    short = capsys.readouterr().out
    assert "--help-all" in short
    assert "--stall-minutes" not in short
    with pytest.raises(SystemExit) as exit_request:
        main(["train", "--help-all"])
    assert exit_request.value.code == 0
    long = capsys.readouterr().out
    assert "--stall-minutes" in long
    assert "usage: m3ray train" in long


def test_an_option_that_short_help_hides_is_still_parsed(monkeypatch, tmp_path):
    requests = []
    monkeypatch.setattr(jobs, "extract", requests.append)
    assert main(["extract", "--out", str(tmp_path / "o"), "--stall-minutes", "7", "--dry-run"]) == 0
    assert requests[0].options.stall_minutes == 7


def test_a_wrong_option_of_a_subcommand_is_one_line(capsys):
    assert main(["doctor", "--jsn"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: Unrecognized options: --jsn")


def test_where_no_command_line_can_be_read_others_name_the_doctor_which_works(monkeypatch, capsys):
    asked = []
    monkeypatch.setitem(sys.modules, "m3ray.cli", None)
    monkeypatch.setattr("m3ray.commands.doctor.run", lambda options: asked.append(options) or 1)
    assert main(["train", "--out", "x"]) == 1
    assert "m3ray doctor" in capsys.readouterr().err
    assert main(["doctor", "--json"]) == 1
    assert asked[0].json


def test_whoever_reads_along_may_leave(tmp_path):
    script = "import sys; from m3ray.commands.dispatch import main; sys.exit(main(['train', '--help']))"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


def test_ctrl_c_is_130(monkeypatch):
    def stop(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("m3ray.commands.score.run", stop)
    assert main(["score", "a.mp4"]) == cli.INTERRUPTED
    assert dispatch.COMMANDS is COMMANDS


def test_threads_of_networks_wait_without_work_unless_the_user_says_otherwise(monkeypatch):
    found = []
    monkeypatch.setattr("m3ray.commands.score.run", lambda _: found.append(os.environ["OMP_WAIT_POLICY"]) or 0)
    for given, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
        if given is None:
            monkeypatch.delenv("OMP_WAIT_POLICY")
        assert main(["score", "a.mp4"]) == 0
        assert found[-1] == expected
