"""What the driver reports of a job whose storage does not answer."""

import time

import pytest
from failing_storage import LIMITS, SleepClock
from ledgers import Handle

from m3ray.config import LimitsConfig
from m3ray.console import LineKeeper
from m3ray.errors import StorageError
from m3ray.pipelines.extraction import storage_pauses
from m3ray.pipelines.extraction.crash_guard import Ledger
from m3ray.pipelines.runtime.progress import Progress


@pytest.fixture
def clock():
    return SleepClock()


def test_a_pause_is_said_and_so_is_its_end():
    with LineKeeper() as log, Progress("extract", 4, "CPUs") as progress:
        reporter = storage_pauses.PauseReporter(300, progress)
        words = "403 AccessDenied on s3://b/x: check the role's policy, and the bucket's"
        for state in (None, (1.0, words), (4.0, words), (20.0, words)):
            reporter.update(state)
        assert words in progress.waiting_for
        reporter.update(None)
        reporter.update(None)
    lines = [line.partition(" ")[2] for line in log.lines if "paused" in line or "resumed" in line]
    assert lines == [
        f"paused: storage answers {words}; 1 s, gives up after 300 s",
        f"paused: storage answers {words}; 20 s, gives up after 300 s",
        "resumed: the storage answers again after 20 s; nothing was rejected",
    ]
    assert progress.waiting_for == "CPUs"


def test_a_pause_that_the_last_clip_ended_is_said_to_have_ended(monkeypatch, clock):
    """Else whoever reads the events takes the job for paused for ever."""
    monkeypatch.setattr(storage_pauses, "_WATCH_SECONDS", 0.02)
    monkeypatch.setattr(storage_pauses.ray, "get", lambda value, timeout=None: value)
    ledger = Ledger(300.0)
    breaker = ledger.breakers["writes"]
    with LineKeeper() as log, storage_pauses.report_pauses(Handle(ledger), LimitsConfig()):
        breaker.record_failure("s3://b/x", "403 AccessDenied", 2, 2)
        while not any("paused" in line for line in log.lines):
            time.sleep(0.01)
        monkeypatch.setattr(storage_pauses, "_WATCH_SECONDS", 60)  # the end comes before the next look
        time.sleep(0.1)
        breaker.record_success("s3://b/x", 0.0)
    assert [word for line in log.lines for word in ("paused:", "resumed:") if word in line][-1] == "resumed:"


def test_the_driver_stops_with_the_words_of_the_breaker(monkeypatch):
    monkeypatch.setattr(storage_pauses.ray, "get", lambda value, **_: value)
    ledger = Ledger(60)
    ledger.breakers["writes"].stop_reason = "the storage answered for nothing"
    with (
        pytest.raises(StorageError, match="answered for nothing"),
        storage_pauses.report_pauses(Handle(ledger), LIMITS),
    ):
        raise RuntimeError("a worker's traceback")
    ledger.breakers["writes"].stop_reason = ""
    with pytest.raises(RuntimeError, match="traceback"), storage_pauses.report_pauses(Handle(ledger), LIMITS):
        raise RuntimeError("a worker's traceback")
