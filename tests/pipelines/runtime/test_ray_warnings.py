"""Which of Ray's lines are shown, and how often."""

import pytest

from m3ray.pipelines.runtime.ray_warnings import Notices, find_notice, strip_colours


@pytest.mark.parametrize(
    ("line", "begins"),
    [
        ("(raylet) 3 Workers (tasks / actors) killed due to memory pressure (OOM), 0 Workers crashed", "memory: "),
        ("Task was killed due to the node running low on memory.", "memory: "),
        ("The node with node id: ab has been marked dead because the detector has missed too many", "cluster: a node"),
        ("Warning: The following resource request cannot be scheduled right now: {'GPU': 1.0}", "cluster: work waits"),
        ("file_system_monitor.cc:116: /tmp/ray is over 95% full, available space: 1 GB", "disk: "),
    ],
)
def test_what_a_person_must_see_has_a_line(line, begins):
    assert find_notice(line).startswith(begins)


@pytest.mark.parametrize("line", ["", "UserWarning: The given NumPy array is not writable", "Token authentication is"])
def test_all_else_has_none(line):
    assert find_notice(line) is None


def test_a_text_is_shown_once_a_minute(capsys):
    now = [0.0]
    notices = Notices(lambda: now[0])
    for second in (0, 30, 59, 60, 61):
        now[0] = float(second)
        notices.show("one")
    notices.show("two")
    assert capsys.readouterr().out == "one\none\ntwo\n"


def test_colours_are_stripped():
    assert strip_colours("\x1b[33m(raylet)\x1b[0m a \x1b[1;31mb") == "(raylet) a b"
