"""Checks of packages."""

import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from m3ray.commands import packages
from m3ray.commands.packages import check_extras, check_package, check_packages, find_packages


def test_what_is_installed_has_its_version():
    found = {finding.name: finding for finding in check_packages()}
    assert {finding.status for finding in found.values()} == {"ok"}
    assert "libavcodec" in found["av"].text


def test_all_that_pip_is_asked_for_is_checked_but_what_others_bring_along():
    asked = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {canonicalize_name(Requirement(text).name) for text in asked}
    checked = {canonicalize_name(finding.name) for finding in find_packages()}
    assert names - checked == {"decord"}, "PyAV decodes where it is not there"
    assert checked - names == {"m3ray"}


def test_what_m3ray_needs_is_essential_whether_it_is_there_or_not():
    assert {finding.essential for finding in (*check_packages(), *find_packages())} == {True}


def test_found_by_name_they_are_the_same_packages():
    assert [finding.name for finding in find_packages()] == [finding.name for finding in check_packages()]
    assert {finding.status for finding in find_packages()} == {"ok"}


def test_one_that_is_not_found_by_name_is_essential(monkeypatch):
    monkeypatch.setattr(packages, "find_version", lambda _: None)
    _, *found = find_packages()
    assert {(finding.status, finding.essential) for finding in found} == {("missing", True)}
    assert found[0].mend == "pip install torch"


def test_a_missing_package_names_the_command():
    finding = check_package("no-such-package-anywhere", "no_such_module")
    assert (finding.status, finding.mend) == ("missing", "pip install no-such-package-anywhere")
    assert finding.essential


@pytest.mark.parametrize("code", ["raise ImportError('libx.so.3: cannot open')", "raise SystemExit(1)", "1 / 0"])
def test_a_package_that_breaks_when_imported_is_named_with_its_error(monkeypatch, tmp_path, code):
    (tmp_path / "broken_module.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_module", raising=False)
    monkeypatch.setattr(packages, "find_version", lambda _: "1.2")
    finding = check_package("broken", "broken_module")
    assert finding.status == "missing"
    assert finding.text.startswith("1.2 is damaged: ")
    assert finding.mend == "pip install --force-reinstall --no-deps broken==1.2"


def test_extras_that_are_not_there_are_optional(monkeypatch):
    monkeypatch.setattr(packages, "find_version", lambda _: None)
    found = {finding.name: finding for finding in check_extras()}
    assert found["decord"].status == "ok"
    assert found["resmem"].mend == "pip install 'm3ray[resmem]'"
    assert not any(finding.essential for finding in found.values())
