"""Locks: who holds a folder of work, who waits, who is refused; and that whoever lost it commits no more."""

import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import replace

import psutil
import pytest
from late_s3 import late_puts
from locks import DEEP, FILE, QUICK, elsewhere, leave_lock, read_lock

from m3ray.errors import ConfigError, LostLockError, RootBusyError
from m3ray.storage import conditional_file
from m3ray.storage import fence as fences
from m3ray.storage import lock_owner as owners
from m3ray.storage.fence import Pace
from m3ray.storage.lock import hold_lock
from m3ray.storage.lock_owner import Owner, ProcessIdentity, this_process
from m3ray.storage.root import Root

TURNS = 10  # of each process


def test_two_jobs_refuse_each_other_by_name_and_name_the_way_out(root):
    with (
        hold_lock(root, "extract"),
        pytest.raises(RootBusyError, match=rf"in use by extract \(process {os.getpid()}.*jobs/unlock.py --out"),
        hold_lock(root, "train"),
    ):
        pass
    with hold_lock(root, "train") as lock:  # it was given back
        lock.fence.check()


def test_predict_goes_beside_extract_and_not_beside_itself(root):
    with hold_lock(root, "extract") as one, hold_lock(root, "predict") as other:
        one.fence.check()
        other.fence.check()
        with pytest.raises(RootBusyError, match="in use by predict"), hold_lock(root, "predict"):
            pass


def test_tokens_never_go_back(root):
    seen = []
    for _ in range(3):
        with hold_lock(root, "extract") as lock:
            seen.append(lock.fence.token)
        assert read_lock(root).released
    assert seen == [1, 2, 3]


def test_a_living_owner_elsewhere_is_respected_whatever_its_clock_says(root, monkeypatch):
    """Its `since` and `sign` lie an hour ahead of ours; only that they change is looked at."""
    with hold_lock(root, "extract", me=elsewhere("a"), pace=QUICK):
        monkeypatch.setattr(owners.time, "time", lambda: 3600.0)
        start = time.monotonic()
        with pytest.raises(RootBusyError, match="extract"), hold_lock(root, "train", me=elsewhere("b"), pace=QUICK):
            pass
        assert time.monotonic() - start < QUICK.lease, "one sign is enough"


def test_equal_host_names_in_two_containers_do_not_break_a_living_lock(root):
    """The issue's case: the other container's process number names no process in this one."""
    other = ProcessIdentity(this_process().host, "another container", 2**22 + 5, "1")
    with (
        hold_lock(root, "extract", me=other, pace=QUICK),
        pytest.raises(RootBusyError, match="extract"),
        hold_lock(root, "train", pace=QUICK),
    ):
        pass


def test_an_owner_that_died_elsewhere_costs_a_lease_and_its_last_writes_and_says_so(root):
    leave_lock(Owner("extract", elsewhere("gone"), token=4), root)
    lines, start = [], time.monotonic()
    with hold_lock(root, "train", pace=QUICK, tell=lines.append) as lock:
        took = time.monotonic() - start
        assert lock.fence.token == 5
        assert lock.settled
    assert took >= QUICK.lease + QUICK.settling
    assert lines[0] == (
        "waiting for the lock of extract (process 7 on elsewhere, last renewal 0 s ago): taken over in 3 s "  # 2 + 0.8
        "unless it is renewed"
    )
    assert len([line for line in lines if "last renewal" in line]) == 4  # at 0, 0.5, 1 and 1.5 s
    assert "last writes" in lines[-1]


def test_a_dead_process_of_this_machine_is_replaced_at_once(root):
    code = (
        "import sys, time\nfrom m3ray.storage.lock import hold_lock\nfrom m3ray.storage.root import Root\n"
        "with hold_lock(Root(sys.argv[1]), 'extract'):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, root.uri], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    with pytest.raises(RootBusyError, match=f"process {child.pid}"), hold_lock(root, "train"):
        pass
    child.kill()  # and not waited for: a zombie is dead, too
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    start = time.monotonic()
    with hold_lock(root, "train") as lock:
        assert lock.fence.token == 2
        assert time.monotonic() - start < fences.PACE.lease / 5
    child.wait()


def test_a_recycled_process_number_is_not_the_owner(local):
    leave_lock(Owner("extract", replace(this_process(), started="1")), local)  # our number, another start
    with hold_lock(local, "train") as lock:
        assert lock.fence.token == 2


@pytest.mark.parametrize("data", DEEP, ids=["lists", "objects"])
@pytest.mark.parametrize("file", [FILE, ("runs", "lock.json")], ids=["ours", "older"])
def test_a_deep_lock_is_taken_when_it_stays_unchanged(local, file, data):
    local.write_bytes(data, *file)
    lines = []
    with hold_lock(local, "train", pace=QUICK, tell=lines.append) as lock:
        lock.fence.check()
    assert "unreadable" in lines[0]


def test_an_unreadable_lock_is_taken_when_it_stays_unchanged(local):
    local.write_bytes(b"{", *FILE)
    lines = []
    with hold_lock(local, "train", pace=QUICK, tell=lines.append) as lock:
        lock.fence.check()
    assert "unreadable" in lines[0]


def test_a_storage_without_rights_is_a_matter_of_the_request(server):
    with (
        pytest.raises(ConfigError, match=r"cannot write under s3://no-such-bucket/r: its lock .*NoSuchBucket.*network"),
        hold_lock(Root("s3://no-such-bucket/r"), "extract"),
    ):
        pass


def test_a_takeover_that_was_broken_off_leaves_the_wait_to_the_next(local):
    """Whoever comes next may still meet the last writes of the first."""
    leave_lock(Owner("extract", elsewhere("gone"), settled=False, released=True), local)
    lines = []
    with hold_lock(local, "train", pace=QUICK, tell=lines.append):
        pass
    assert "last writes" in lines[0]
    with hold_lock(local, "train", pace=QUICK, tell=lines.append):
        pass
    assert len(lines) == 2, "the wait is over for good"  # 0.8 s in lines of 0.5 s


def test_a_write_that_arrived_though_its_answer_did_not_counts(local, monkeypatch):
    """Taking, renewing and giving back alike: the connection breaks after every write."""
    real = conditional_file._LocalFile.replace

    def broken(*given):
        real(*given)
        raise OSError("connection reset")

    monkeypatch.setattr(conditional_file._LocalFile, "replace", broken)
    with hold_lock(local, "extract", pace=QUICK) as lock:
        lock.renew()
        lock.fence.check()
        assert read_lock(local).beat >= 1
    assert read_lock(local).released


# Versions before this lock.


# Races.


def test_a_put_that_is_three_and_a_half_seconds_late_takes_nothing(server):
    """The issue's case: both jobs ran. The late one started first, and the lock went to the other meanwhile."""
    root, results, first = Root("s3://locks/late"), {}, threading.Event()

    def delay(_):
        if first.is_set():
            return 0.0
        first.set()
        return 3.5

    def start(name):
        try:
            with hold_lock(root, name, me=elsewhere(name), pace=replace(QUICK, lease=8.0)) as lock:
                time.sleep(5)
                lock.fence.check()
                results[name] = "committed"
        except RootBusyError:
            results[name] = "refused"

    with late_puts(delay):
        jobs = [threading.Thread(target=start, args=(name,)) for name in ("late", "quick")]
        jobs[0].start()
        assert first.wait(10)
        jobs[1].start()
        for job in jobs:
            job.join()
    assert results == {"late": "refused", "quick": "committed"}


def test_a_renewal_that_arrives_after_it_was_given_up_is_still_ours(server):
    """It failed here by a time limit, took effect there, and the next is written over it."""
    root = Root("s3://locks/given-up")
    with hold_lock(root, "extract", pace=replace(QUICK, beat=60.0)) as lock:
        leave_lock(replace(read_lock(root), beat=1), root)
        lock.renew()
        lock.fence.check()
        assert read_lock(root).beat == 1
        assert read_lock(root).id == lock.fence.id


def test_of_many_threads_one_holds(root):
    barrier, results = threading.Barrier(8), []

    def start(number):
        barrier.wait()
        try:
            with hold_lock(root, "train", me=elsewhere(str(number)), pace=QUICK):
                results.append("held")
                time.sleep(QUICK.lease)
        except RootBusyError:
            results.append("refused")

    with late_puts(lambda _: random.uniform(0, 0.3)):
        threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results) == ["held"] + ["refused"] * 7


def _take_turns(uri: str, together, log: str) -> None:
    root, turns = Root(uri), 0
    together.wait()
    while turns < TURNS:
        try:
            with hold_lock(root, "train") as lock:
                turns += 1
                for word in ("enter", "leave"):
                    with open(log, "a") as file:
                        file.write(f"{lock.fence.token} {word}\n")
        except RootBusyError:
            time.sleep(0.001)


def test_of_many_processes_one_at_a_time_holds(local, tmp_path):
    context, log = multiprocessing.get_context("spawn"), tmp_path / "log"
    together = context.Barrier(4)
    jobs = [context.Process(target=_take_turns, args=(local.uri, together, str(log))) for _ in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    # Each token once, in order, and nobody between another's coming and going.
    assert log.read_text() == "".join(f"{k} enter\n{k} leave\n" for k in range(1, 4 * TURNS + 1))


def test_a_stalled_owner_that_wakes_commits_nothing(server):
    """It renews nothing for longer than a lease but goes on committing: the new owner's commits all come after its."""
    root = Root("s3://locks/stalled")
    pace = Pace(beat=0.3, lease=2.0, fresh=0.5, write=1.5, line=1.0)
    refused = threading.Event()

    def commit(lock, number):
        lock.fence.check()
        root.write_bytes(str(lock.fence.token).encode(), "journal", f"{lock.fence.token}-{number}")

    def stall():
        with hold_lock(root, "extract", me=elsewhere("a"), pace=pace) as lock:
            lock._stop.set()
            try:
                for number in range(1000):
                    commit(lock, number)
            except LostLockError:
                refused.set()

    with late_puts(lambda key: random.uniform(0, 1.0) if "journal" in key else 0.0) as arrivals:
        stalled = threading.Thread(target=stall)
        stalled.start()
        while not any("journal" in arrival.key for arrival in arrivals):
            time.sleep(0.01)
        with hold_lock(root, "train", me=elsewhere("b"), pace=pace) as lock:
            for number in range(3):
                commit(lock, number)
        stalled.join()
    tokens = [int(arrival.body) for arrival in arrivals if "journal" in arrival.key]
    assert refused.is_set()
    assert tokens == sorted(tokens)
    assert set(tokens) == {1, 2}
