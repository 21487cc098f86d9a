"""What a job says while clips are done: the pace of late, the time left, and ever more rarely that nothing moves."""

import itertools
import logging
import time

from m3ray.console import LineKeeper
from m3ray.pipelines.runtime import progress as progresses
from m3ray.pipelines.runtime.progress import Progress, StageSeconds, warning_minutes
from m3ray.pipelines.runtime.rate import RecentRate

logger = logging.getLogger("m3ray.test")


def lines_of(keeper):
    return [line.partition(" ")[2] for line in keeper.lines]


def test_the_time_left_stands_in_the_line(monkeypatch):
    monkeypatch.setattr(progresses, "_LINE_SECONDS", 0.0)
    now = [5000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("m3ray.pipelines.runtime.progress.RecentRate", lambda: RecentRate(lambda: now[0]))
    progress = Progress("extract", 10_000, "CPUs")
    with LineKeeper() as keeper:
        now[0] += 100
        progress.add(1197, 3, {})
    assert lines_of(keeper) == ["extract: 1200/10000 done, 3 rejected, 12.00 clips/s, about 12 min left"]
    assert progress.counts() == {
        "clips_done": 1197, "clips_rejected": 3, "clips_total": 10_000, "clips_per_second": 12.0, "seconds_left": 733,
    }  # fmt: skip


def test_lines_come_more_rarely_as_a_job_gets_older(monkeypatch):
    """Every 5 s at first, after 30 minutes every 30 s, after an hour every minute. A commit each second, two hours."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = Progress("extract", 10_000, "CPUs")
    with LineKeeper() as keeper:
        at = []
        for second in range(7200):
            now[0] = float(second)
            before = len(keeper.lines)
            progress.add(1, 0, {})
            at += [second] * (len(keeper.lines) - before)
    gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert gaps[0] == 5
    assert gaps[-1] == 60
    assert 120 < len(at) < 300, "1,440 at a line each 5 s"


def test_a_standstill_is_said_ever_more_rarely():
    """Minutes of the warnings: 1, 2, 5, 10, 20, 30, 60, then each hour."""
    assert [warning_minutes(k) for k in range(10)] == [1, 2, 5, 10, 20, 30, 60, 120, 180, 240]


def test_warnings_begin_anew_when_something_moved(monkeypatch):
    monkeypatch.setattr(progresses, "_STILL_SECONDS", 0.04)
    with LineKeeper() as keeper, Progress("extract", 9, "a GPU") as progress:
        time.sleep(0.5)
        first = len([line for line in keeper.lines if "nothing finished" in line])
        progress.add(1, 0, {})
        time.sleep(0.15)
    still = [line for line in keeper.lines if "nothing finished" in line]
    assert 3 <= first <= 5, "units of 0.04 s: after 1, 2, 5 and 10, not each quarter of one"
    assert len(still) > first


def test_progress_counts_and_names_the_bottleneck():
    with LineKeeper() as keeper, Progress("extract", 4, "CPUs") as progress:
        progress.add(3, 1, {"decode": 1.0, "event": 3.0})
    text = "\n".join(keeper.lines)
    assert "extract: 4/4 done, 1 rejected" in text
    assert progress.seconds.bottleneck() == "event"
    assert "75 %  <- most of the work" in text
    assert StageSeconds().bottleneck() is None


def test_a_still_job_says_what_it_waits_for(monkeypatch):
    monkeypatch.setattr("m3ray.pipelines.runtime.progress._STILL_SECONDS", 0.05)
    with LineKeeper() as keeper, Progress("extract", 4, "a GPU"):
        import time

        time.sleep(0.3)
    assert any("nothing finished for" in line and "waiting for a GPU" in line for line in keeper.lines)


def test_a_terminal_s_line_says_how_far_it_is_and_that_it_stands_still(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("m3ray.pipelines.runtime.progress.RecentRate", lambda: RecentRate(lambda: now[0]))
    progress = Progress("extract", 1000, "CPUs")
    assert progress.describe() == "extract: 0/1000, 0 rejected, 0 s so far"
    now[0] += 50
    progress.add(99, 1, {})
    assert progress.describe() == "extract: 100/1000, 1 rejected, 2.00 clips/s, 8 min left, 50 s so far"
    now[0] += 120
    assert progress.describe().startswith("extract: 100/1000, 1 rejected, nothing for 2 min, ")


def test_a_line_of_progress_is_marked_as_one_and_the_last_stays(monkeypatch):
    monkeypatch.setattr(progresses, "_LINE_SECONDS", 0.0)
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    log = logging.getLogger("m3ray.pipelines.runtime.progress")
    log.addHandler(handler)
    try:
        with Progress("extract", 2, "CPUs") as progress:
            progress.add(1, 0, {})
            progress.add(1, 0, {})
    finally:
        log.removeHandler(handler)
    lines = [(record.getMessage(), hasattr(record, "is_progress")) for record in records]
    assert [marked for line, marked in lines if " done, " in line] == [True, True, False]
