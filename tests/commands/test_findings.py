"""Findings, and checks that fail in any way."""

import pytest

from m3ray.commands.findings import Finding, describe_error, format_findings, is_sound, run_check


@pytest.mark.parametrize("error", [ImportError("no"), SystemExit(3), OSError("x"), RecursionError()])
def test_whatever_a_check_raises_is_a_finding(error):
    def check():
        raise error

    (finding,) = run_check("thing", check, mend="mend it", essential=True)
    assert (finding.name, finding.status, finding.mend, finding.essential) == ("thing", "missing", "mend it", True)
    assert type(error).__name__ in finding.text


def test_ctrl_c_ends_it():
    def check():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_check("thing", check)


def test_only_what_is_essential_and_missing_counts():
    assert is_sound([Finding("a", "missing", ""), Finding("b", "warning", "", essential=True)])
    assert not is_sound([Finding("b", "missing", "", essential=True)])


def test_what_mends_it_stands_below_and_colours_are_asked_for():
    found = [Finding("disk", "warning", "full", "free some")]
    assert format_findings(found, colours=False, width=6) == ("warning  disk    full\n                 -> free some")
    assert "\x1b[33mwarning" in format_findings(found, colours=True, width=6)


def test_an_error_is_one_short_line():
    assert describe_error(ValueError("a\nb")) == "ValueError: a b"
    assert len(describe_error(ValueError("x" * 999))) == 200
