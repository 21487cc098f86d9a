"""A job in which nothing goes on: what counts as a stall, its message, and that the waiting thread is freed. No Ray."""

import os
import signal
import threading
import time

import pytest
from ledgers import Handle

from m3ray.config.options import ExtractOptions
from m3ray.errors import M3RayError
from m3ray.pipelines.extraction import stall_watchdog
from m3ray.pipelines.extraction.crash_guard import Ledger
from m3ray.pipelines.extraction.stall_watchdog import JobSnapshot, StallClock, StalledError, stop_when_stalled
from m3ray.pipelines.runtime.progress import Progress
from m3ray.request.ranges import check_numbers

GPU_NODE = {"NodeID": "n1", "Alive": True, "NodeManagerHostname": "ip-10-0-0-3", "Resources": {"CPU": 8.0, "GPU": 1.0}}
CPU_NODE = {"NodeID": "n2", "Alive": True, "NodeManagerHostname": "head", "Resources": {"CPU": 2.0}}
GONE = {**GPU_NODE, "NodeID": "n3", "Alive": False}
IN_PROGRESS = [("tier:a.mp4", "n1", 3700.0), ("decode:b.mp4", "n2", 50.0)]


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def snapshot(completed=0, in_progress=(), *, paused=False, nodes=(GPU_NODE,)):
    return JobSnapshot(completed, list(in_progress), paused, list(nodes))


def stalled_after(*snapshots, committed=0, required=("GPU",)):
    """Seconds counted where the job is looked at each 10 s."""
    clock = Clock()
    counting = StallClock(clock)
    for seen in snapshots:
        clock.now += 10
        counting.update(seen, committed, required)
    return counting.stalled_seconds


def test_only_time_without_a_movement_counts():
    assert stalled_after(snapshot(5), snapshot(5), snapshot(5)) == 20, "the first look finds something new"
    assert stalled_after(snapshot(5), snapshot(6), snapshot(7)) == 0
    assert stalled_after(snapshot(5), snapshot(5), snapshot(6), snapshot(6)) == 10


def test_a_commit_is_a_movement_too():
    clock = Clock()
    counting = StallClock(clock)
    for committed in (1, 2, 2):
        clock.now += 10
        counting.update(snapshot(5), committed, ("GPU",))
    assert counting.stalled_seconds == 10


def test_no_answer_is_no_excuse():
    assert stalled_after(snapshot(5), None, None) == 20


def test_a_pause_of_the_breaker_stops_the_clock_and_does_not_set_it_back():
    assert (
        stalled_after(snapshot(5), snapshot(5), snapshot(5, paused=True), snapshot(5, paused=True), snapshot(5)) == 20
    )


def test_nodes_that_are_to_come_stop_the_clock():
    waiting = [snapshot(9, nodes=[CPU_NODE])] * 4
    assert stalled_after(*waiting) == 0, "decoding filled its buffers, the GPU node is not there"
    assert stalled_after(*waiting, required=("CPU",)) == 30, "on CPUs, the node that is there would do"
    lost = [snapshot(9, in_progress=[("tier:a", "n3", 90.0)], nodes=[CPU_NODE, GONE])] * 4
    assert stalled_after(*lost) == 0, "the clip was in the hands of a node that went"
    hanging = [snapshot(9, in_progress=[("decode:b", "n2", 90.0)], nodes=[CPU_NODE])] * 4
    assert stalled_after(*hanging) == 30, "a clip that hangs in decoding is no wait for the GPU"
    idle = [snapshot(9, nodes=[CPU_NODE, GPU_NODE])] * 4
    assert stalled_after(*idle) == 30, "the device is there, and nobody computes"


def test_what_hung_is_named():
    text = snapshot(1, IN_PROGRESS, nodes=[GPU_NODE, CPU_NODE]).describe("a GPU")
    assert text == "being computed: a.mp4 (tier) on ip-10-0-0-3 for 62 min, b.mp4 (decode) on head for 50 s"
    many = snapshot(1, [("tier:x", "n9", 1.0)] * 8).describe("a GPU")
    assert many.endswith("and 3 more")
    assert "x (tier) on n9 for 1 s" in many
    assert snapshot(1).describe("a GPU") == "no clip was being computed; the job waited for a GPU"


@pytest.fixture
def ledger(monkeypatch):
    monkeypatch.setattr(stall_watchdog.ray, "get", lambda values, **_: values)
    monkeypatch.setattr(stall_watchdog.ray, "nodes", lambda: [GPU_NODE, CPU_NODE])
    monkeypatch.setattr(stall_watchdog, "_POLL_SECONDS", 0.01)
    return Ledger(60)


def watch(ledger, minutes=0.0025, total=2):
    """A minute is 60 times as long: 0.0025 of one are 0.15 s."""
    return stop_when_stalled(Handle(ledger), minutes, Progress("extract", total, "a GPU"), ("GPU",))


def test_a_job_that_hangs_stops_with_what_hung(ledger):
    ledger.begin(["tier:a.mp4"], "n1")
    start, before = time.monotonic(), signal.getsignal(signal.SIGINT)
    with pytest.raises(StalledError) as caught, watch(ledger):
        threading.Event().wait(20)  # as one waits for Ray
    assert 0.14 < time.monotonic() - start < 5
    assert isinstance(caught.value, M3RayError)
    assert caught.value.exit_status == 1
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(
        "stalled: no clip got through a stage for 0 s (--stall-minutes 0.0025): being computed: a.mp4 (tier) on "
        "ip-10-0-0-3 for"
    )
    assert "the same command goes on" in message
    assert signal.getsignal(signal.SIGINT) is before


def test_a_job_that_goes_on_slowly_is_left_alone(ledger):
    """Twenty clips, one each 0.02 s, where 0.15 s without one would stop it."""
    with watch(ledger):
        for k in range(20):
            time.sleep(0.02)
            ledger.begin([f"decode:{k}"], "n2")
            ledger.end({f"decode:{k}": None})
    assert ledger.count_completed() == 20


def test_ctrl_c_is_still_ctrl_c(ledger):
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt), watch(ledger, minutes=1):
        threading.Event().wait(5)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_after_the_block_nothing_is_interrupted(ledger):
    """A clip is held, and 0.06 s without any end after the block did."""
    ledger.begin(["tier:a.mp4"], "n1")
    with pytest.raises(StalledError), watch(ledger, minutes=0.001):
        threading.Event().wait(5)  # the same clip and time do stop a block
    came = []
    with watch(ledger, minutes=0.001):
        time.sleep(0.02)
    before = signal.signal(signal.SIGINT, lambda *_: came.append("interrupted"))
    try:
        time.sleep(0.2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert came == []
    assert not any(thread.name == "m3ray-stall" for thread in threading.enumerate())


def test_a_signal_as_the_block_ends_leaves_ctrl_c_as_it_was(ledger, monkeypatch):
    ended = stall_watchdog.StallWatchdog.end

    def end(watch):
        ended(watch)
        watch._message = "stalled"
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(stall_watchdog.StallWatchdog, "end", end)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(StalledError), watch(ledger, minutes=60):
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_zero_is_never_and_no_other_thread_can_be_stopped(ledger):
    before = set(threading.enumerate())  # the watch of the test before may be ending still
    with watch(ledger, minutes=0):
        assert set(threading.enumerate()) <= before
        time.sleep(0.05)
    got = []

    def elsewhere():
        with watch(ledger):
            time.sleep(0.3)
            got.append("went on")

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert got == ["went on"]


def test_a_ledger_that_does_not_answer_does_not_hide_a_hang(monkeypatch, ledger):
    def silent(values, **_):
        raise TimeoutError

    monkeypatch.setattr(stall_watchdog.ray, "get", silent)
    with pytest.raises(StalledError, match="Ray does not answer what was being computed"), watch(ledger):
        threading.Event().wait(20)


def test_the_ledger_knows_what_is_in_hand_and_what_got_through(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("m3ray.pipelines.extraction.crash_guard.time.monotonic", lambda: now[0])
    monkeypatch.setattr("m3ray.pipelines.extraction.crash_guard.ray.nodes", list)
    ledger = Ledger(60)
    ledger.begin(["decode:a", "decode:b"], "n1")
    now[0] += 7
    ledger.begin_alone("tier:c", "n2")
    ledger.end({"decode:a": None})
    now[0] += 3
    assert ledger.list_in_progress() == [("decode:b", "n1", 10.0), ("tier:c", "n2", 3.0)]
    assert ledger.count_completed() == 1
    ledger.begin(["decode:b"], "n2")  # its process died, another took it on
    assert ledger.list_in_progress()[-1] == ("decode:b", "n2", 0.0)


def test_the_option_is_minutes_from_zero_on():
    check_numbers(ExtractOptions(out="x", stall_minutes=0))
    with pytest.raises(M3RayError, match=r"--stall-minutes -1: expected at least 0"):
        check_numbers(ExtractOptions(out="x", stall_minutes=-1))
