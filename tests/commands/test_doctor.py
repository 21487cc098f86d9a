"""`m3ray doctor`."""

import json
import subprocess
import sys

import pytest

from m3ray.commands import doctor, machine, packages
from m3ray.commands.doctor import DoctorOptions, describe_result, examine, run
from m3ray.commands.findings import Finding

QUICK = DoctorOptions(network="skip")


def test_here_nothing_essential_is_missing(capsys):
    assert run(QUICK) == 0
    output = capsys.readouterr().out
    assert "self-test: decoding" in output
    assert "\x1b" not in output
    assert output.splitlines()[-1].startswith("m3ray works here")


def test_the_quick_checks_import_and_try_nothing():
    """A container's health check runs every few minutes, beside jobs: what it may cost is the start of a Python."""
    code = "import sys; from m3ray.commands.doctor import DoctorOptions, run; code = run(DoctorOptions(quick=True));"
    code += "sys.exit(code or len({'torch', 'ray', 'numpy', 'av', 'cv2', 'pandas'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "self-test" not in found.stdout
    assert "weights" not in found.stdout
    assert found.stdout.splitlines()[-1].startswith("m3ray works here")


def test_the_quick_checks_fail_where_a_package_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(packages, "find_version", lambda package: None if package == "av" else "1.0")
    assert run(DoctorOptions(quick=True)) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "m3ray cannot work before this is mended: av"


def test_json_is_a_finding_a_line(capsys):
    assert run(DoctorOptions(network="skip", json=True)) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(set(row) == {"name", "status", "text", "mend", "essential"} for row in rows)


@pytest.mark.parametrize("module", ["machine", "packages", "reach", "self_test"])
def test_no_check_that_cannot_even_be_imported_ends_it(monkeypatch, capsys, module):
    for name in ("check_packages", "check_extras"):
        monkeypatch.setattr(packages, name, lambda: ())
    monkeypatch.setitem(sys.modules, f"m3ray.commands.{module}", None)
    found = [finding for group in examine(network=False) for finding in group]
    assert any("ModuleNotFoundError" in finding.text for finding in found)


def test_something_essential_that_is_missing_is_1_and_named(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_CHECKS", (("Python", "machine", "check_python", True),))
    monkeypatch.setattr(machine, "check_python", lambda: [Finding("Python", "missing", "3.9", "", True)])
    assert run(QUICK) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "m3ray cannot work before this is mended: Python"


def test_the_result_counts_what_is_not_essential():
    found = [Finding("a", "ok", ""), Finding("b", "warning", "")]
    assert describe_result(found) == "m3ray works here; not essential: 1"
    assert describe_result(found[:1]) == "m3ray works here"
