"""What a job says while clips are done: the pace of late, the time left, and ever more rarely that nothing moves."""

import itertools
import time

import pytest

from m3ray.console import LineKeeper, announce, note, say
from m3ray.pipelines.runtime import progress as progresses
from m3ray.pipelines.runtime.progress import Progress, warning_after
from m3ray.pipelines.runtime.rate import RecentRate, duration


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def after(clock, rate, seconds, finished):
    clock.now += seconds
    rate.add(finished)


def test_the_pace_is_that_of_the_last_minutes(clock):
    """Ten minutes of waiting for nodes, then 10 clips each 10 s: 1 clip/s, not 12 in 720 s."""
    rate = RecentRate(clock)
    assert rate.per_second() is None
    assert rate.seconds_left(5) is None
    clock.now += 600
    for k in range(1, 31):
        after(clock, rate, 10, 10 * k)
    assert rate.per_second() == pytest.approx(1.0)
    assert rate.seconds_left(120) == pytest.approx(120)


def test_commits_that_lie_minutes_apart_still_give_a_pace(clock):
    """256 clips each 10 minutes, all of them longer apart than the window."""
    rate = RecentRate(clock)
    for k in range(1, 8):
        after(clock, rate, 600, 256 * k)
    assert rate.per_second() == pytest.approx(256 / 600)
    clock.now += 599  # the next commit is not due yet
    assert rate.per_second() == pytest.approx(256 / 600)


def test_a_standstill_slows_the_pace(clock):
    """3 gaps of 10 s with 10 clips each; 60 s late: 30 clips in 90 s."""
    rate = RecentRate(clock)
    for k in range(1, 4):
        after(clock, rate, 10, 10 * k)
    clock.now += 70
    assert rate.per_second() == pytest.approx(30 / 90)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (720, "12 min"), (3 * 3600 + 1800, "3.5 h"), (200_000, "2.3 days")],
)
def test_durations_as_a_person_says_them(seconds, said):
    assert duration(seconds) == said


def lines_of(said):
    return [line.partition(" ")[2] for line in said.lines]


def test_the_time_left_stands_in_the_line(monkeypatch):
    monkeypatch.setattr(progresses, "_LINE_SECONDS", 0.0)
    now = [5000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("m3ray.pipelines.runtime.progress.RecentRate", lambda: RecentRate(lambda: now[0]))
    progress = Progress("extract", 10_000, "CPUs")
    with LineKeeper() as said:
        now[0] += 100
        progress.add(1197, 3, {})
    assert lines_of(said) == ["extract: 1200/10000 done, 3 rejected, 12.00 clips/s, about 12 min left"]
    assert progress.counts() == {
        "clips_done": 1197, "clips_rejected": 3, "clips_total": 10_000, "clips_per_second": 12.0, "seconds_left": 733,
    }  # fmt: skip


def test_lines_come_more_rarely_as_a_job_gets_older(monkeypatch):
    """Every 5 s at first, after 30 minutes every 30 s, after an hour every minute. A commit each second, two hours."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = Progress("extract", 10_000, "CPUs")
    with LineKeeper() as said:
        at = []
        for second in range(7200):
            now[0] = float(second)
            before = len(said.lines)
            progress.add(1, 0, {})
            at += [second] * (len(said.lines) - before)
    gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert gaps[0] == 5
    assert gaps[-1] == 60
    assert 120 < len(at) < 300, "1,440 at a line each 5 s"


def test_a_standstill_is_said_ever_more_rarely():
    """Minutes of the warnings: 1, 2, 5, 10, 20, 30, 60, then each hour."""
    assert [warning_after(k) for k in range(10)] == [1, 2, 5, 10, 20, 30, 60, 120, 180, 240]


def test_warnings_begin_anew_when_something_moved(monkeypatch):
    monkeypatch.setattr(progresses, "_STILL_SECONDS", 0.04)
    with LineKeeper() as said, Progress("extract", 9, "a GPU") as progress:
        time.sleep(0.5)
        first = len([line for line in said.lines if "nothing finished" in line])
        progress.add(1, 0, {})
        time.sleep(0.15)
    still = [line for line in said.lines if "nothing finished" in line]
    assert 3 <= first <= 5, "units of 0.04 s: after 1, 2, 5 and 10, not each quarter of one"
    assert len(still) > first


def test_what_is_no_line_stands_in_no_log(capsys):
    heard = []
    with LineKeeper() as said:
        said.heard = heard.append
        say("one")
        announce({"a": 1})
        note("two\n\nthree")
    assert lines_of(said) == ["one", "two", "", "three"]
    assert heard == [{"a": 1}]
    assert capsys.readouterr().out == "one\n"
