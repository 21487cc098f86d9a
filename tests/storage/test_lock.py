"""Locks: who holds a folder of work, who waits, who is refused; and that whoever lost it commits no more."""

import json
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from urllib import request as urlrequest

import psutil
import pytest
from faulty_s3 import patched_environment, s3_environment, s3_server
from late_s3 import late_puts

from m3ray.errors import ConfigError, LostLockError, RootBusyError
from m3ray.storage import conditional_file
from m3ray.storage import fence as fences
from m3ray.storage import owner as owners
from m3ray.storage.fence import Pace
from m3ray.storage.lock import lock_uri, locked
from m3ray.storage.owner import Owner, Place, here, start_of
from m3ray.storage.root import Root

# Twelve times the real one; faster, and a busy machine would look dead.
QUICK = Pace(beat=0.2, lease=2.0, fresh=0.5, write=0.3, line=0.5)
TURNS = 10  # of each process
FILE = ("runs", "locks", "study.json")


def elsewhere(name: str, host: str = "elsewhere") -> Place:
    """A process of another machine or container."""
    return Place(host, name, 7, "1")


@pytest.fixture(scope="module")
def server():
    with s3_server() as endpoint, patched_environment(s3_environment(endpoint)):
        urlrequest.urlopen(urlrequest.Request(f"{endpoint}/locks", method="PUT"))
        yield endpoint


@pytest.fixture(params=["local", "s3"])
def root(request, tmp_path):
    if request.param == "s3":
        request.getfixturevalue("server")
        return Root(f"s3://locks/{tmp_path.parent.name}-{tmp_path.name}")
    return Root(str(tmp_path / "root"))


@pytest.fixture
def local(tmp_path):
    return Root(str(tmp_path / "root"))


def left_by(owner: Owner, root: Root) -> None:
    root.write_bytes(owner.to_bytes(), *FILE)


def standing(root: Root) -> Owner:
    return Owner.from_bytes(root.read_bytes(*FILE))


def test_two_jobs_refuse_each_other_by_name_and_name_the_way_out(root):
    with (
        locked(root, "extract"),
        pytest.raises(RootBusyError, match=rf"in use by extract \(process {os.getpid()}.*jobs/unlock.py --out"),
        locked(root, "train"),
    ):
        pass
    with locked(root, "train") as lock:  # it was given back
        lock.fence.check()


def test_predict_goes_beside_extract_and_not_beside_itself(root):
    with locked(root, "extract") as one, locked(root, "predict") as other:
        one.fence.check()
        other.fence.check()
        with pytest.raises(RootBusyError, match="in use by predict"), locked(root, "predict"):
            pass


def test_tokens_never_go_back(root):
    seen = []
    for _ in range(3):
        with locked(root, "extract") as lock:
            seen.append(lock.fence.token)
        assert standing(root).released
    assert seen == [1, 2, 3]


def test_a_living_owner_elsewhere_is_respected_whatever_its_clock_says(root, monkeypatch):
    """Its `since` and `sign` lie an hour ahead of ours; only that they change is looked at."""
    with locked(root, "extract", me=elsewhere("a"), pace=QUICK):
        monkeypatch.setattr(owners.time, "time", lambda: 3600.0)
        start = time.monotonic()
        with pytest.raises(RootBusyError, match="extract"), locked(root, "train", me=elsewhere("b"), pace=QUICK):
            pass
        assert time.monotonic() - start < QUICK.lease, "one sign is enough"


def test_equal_host_names_in_two_containers_do_not_break_a_living_lock(root):
    """The issue's case: the other container's process number names no process in this one."""
    other = Place(here().host, "another container", 2**22 + 5, "1")
    with (
        locked(root, "extract", me=other, pace=QUICK),
        pytest.raises(RootBusyError, match="extract"),
        locked(root, "train", pace=QUICK),
    ):
        pass


def test_an_owner_that_died_elsewhere_costs_a_lease_and_its_last_writes_and_says_so(root):
    left_by(Owner("extract", elsewhere("gone"), token=4), root)
    lines, start = [], time.monotonic()
    with locked(root, "train", pace=QUICK, tell=lines.append) as lock:
        took = time.monotonic() - start
        assert lock.fence.token == 5
        assert lock.settled
    assert took >= QUICK.lease + QUICK.settling
    assert lines[0] == (
        "waiting for the lock of extract (process 7 on elsewhere, last sign 0 s ago): taken over in 3 s "  # 2 + 0.8
        "unless it gives a sign"
    )
    assert len([line for line in lines if "last sign" in line]) == 4  # at 0, 0.5, 1 and 1.5 s
    assert "last writes" in lines[-1]


def test_a_dead_process_of_this_machine_is_replaced_at_once(root):
    code = (
        "import sys, time\nfrom m3ray.storage.lock import locked\nfrom m3ray.storage.root import Root\n"
        "with locked(Root(sys.argv[1]), 'extract'):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, root.uri], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    with pytest.raises(RootBusyError, match=f"process {child.pid}"), locked(root, "train"):
        pass
    child.kill()  # and not waited for: a zombie is dead, too
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    start = time.monotonic()
    with locked(root, "train") as lock:
        assert lock.fence.token == 2
        assert time.monotonic() - start < fences.PACE.lease / 5
    child.wait()


def test_a_recycled_process_number_is_not_the_owner(local):
    left_by(Owner("extract", replace(here(), started="1")), local)  # our number, another start
    with locked(local, "train") as lock:
        assert lock.fence.token == 2


def test_a_start_is_the_kernels_own(local):
    assert start_of(os.getpid()) == start_of(os.getpid()) != ""
    assert start_of(2**22 + 5) == ""  # beyond the largest process number of Linux


DEEP = [b"[" * 200_000, b'{"job":' * 100_000]  # more than Python's parser descends


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"job": 1}', b'{"place": {}}', b"\xff", b"null", *DEEP])
def test_what_is_no_owner_is_read_as_one_that_nobody_knows(data):
    assert Owner.from_bytes(data).job == "an unreadable lock"
    assert not Owner.from_bytes(data).settled


@pytest.mark.parametrize(
    "changed",
    [
        {"since": "x"},
        {"sign": "y"},
        {"sign": True},
        {"since": 1e300},
        {"since": float("nan")},
        {"sign": float("-inf")},
        {"since": -1e15},
        {"since": 10**400},
        {"released": "no"},
        {"released": 1},
        {"settled": None},
        {"token": -5},
        {"token": True},
        {"token": 2**80},
        {"beat": -1},
        {"job": 3},
        {"job": "a\nb"},
        {"job": "\ud800"},
        {"id": None},
    ],
    ids=str,
)
def test_values_that_no_job_writes_make_an_owner_that_nobody_knows(changed):
    data = json.dumps(asdict(Owner("extract", here())) | changed).encode()
    assert Owner.from_bytes(data) == Owner.from_bytes(b"")


@pytest.mark.parametrize(
    "changed", [{"pid": 2**40}, {"pid": -1}, {"host": 1}, {"machine": []}, {"started": None}], ids=str
)
def test_a_place_that_cannot_be_is_no_owners(changed):
    whole = asdict(Owner("extract", here()))
    assert Owner.from_bytes(json.dumps(whole).encode()).job == "extract"
    data = json.dumps(whole | {"place": whole["place"] | changed}).encode()
    assert Owner.from_bytes(data) == Owner.from_bytes(b"")


@pytest.mark.parametrize("data", DEEP, ids=["lists", "objects"])
@pytest.mark.parametrize("file", [FILE, ("runs", "lock.json")], ids=["ours", "older"])
def test_a_deep_lock_is_taken_when_it_stays_unchanged(local, file, data):
    local.write_bytes(data, *file)
    lines = []
    with locked(local, "train", pace=QUICK, tell=lines.append) as lock:
        lock.fence.check()
    assert "unreadable" in lines[0]


@pytest.mark.parametrize(
    "changed", [{"since": 1e300}, {"since": "nan"}, {"since": -1}, {"pid": 1e300}, {"pid": 2**70}], ids=str
)
def test_an_older_lock_with_values_that_no_job_writes_is_taken(local, changed):
    older(local, host=here().host, **changed)
    lines = []
    with locked(local, "train", pace=QUICK, tell=lines.append):
        assert not local.exists("runs", "lock.json")
    assert "unreadable" in lines[0]


def test_an_unreadable_lock_is_taken_when_it_stays_unchanged(local):
    local.write_bytes(b"{", *FILE)
    lines = []
    with locked(local, "train", pace=QUICK, tell=lines.append) as lock:
        lock.fence.check()
    assert "unreadable" in lines[0]


def test_an_owner_whose_lock_was_overwritten_stops(root):
    with locked(root, "extract", pace=QUICK) as lock:
        lock.fence.check()
        left_by(Owner("train", elsewhere("b"), token=9), root)
        time.sleep(QUICK.fresh + 0.1)
        with pytest.raises(RootBusyError, match=r"lost the lock of extract .* to train \(process 7 on elsewhere\)"):
            lock.fence.check()
        assert standing(root).job == "train"
    assert not standing(root).released, "another's lock is not given back"


def test_an_owner_whose_lock_was_deleted_stops(root):
    with locked(root, "extract", pace=QUICK) as lock:
        root.delete(*FILE)
        time.sleep(QUICK.beat + 0.2)
        with pytest.raises(LostLockError, match="its file is gone") as caught:
            lock.fence.check()
        assert caught.value.exit_status == 1


def test_a_fence_travels_to_workers_and_reads_once_every_few_seconds(root, monkeypatch):
    with locked(root, "extract") as lock:
        fence = pickle.loads(pickle.dumps(lock.fence))
        reads = []
        real = fences.conditional_file
        monkeypatch.setattr(fences, "conditional_file", lambda uri: reads.append(uri) or real(uri))
        for _ in range(100):
            fence.check()
        assert reads == [lock_uri(root, "study")]


def test_workers_that_outlive_their_job_commit_no_more(root):
    with locked(root, "extract", pace=QUICK) as lock:
        fence = pickle.loads(pickle.dumps(lock.fence))
        fence.check()
    time.sleep(QUICK.fresh)
    with pytest.raises(LostLockError, match="given back"):
        fence.check()


def test_an_answer_that_was_long_on_its_way_is_no_knowledge(local, monkeypatch):
    """A lock read in more than `fresh` seconds may have been taken since it was read."""
    with locked(local, "extract", pace=QUICK) as lock:
        real = fences.conditional_file

        class Slow:
            def __init__(self, uri):
                self.file = real(uri)

            def read(self):
                found = self.file.read()
                time.sleep(QUICK.fresh + 0.1)
                return found

        monkeypatch.setattr(fences, "conditional_file", Slow)
        with pytest.raises(TimeoutError, match=r"the lock of extract .* too late to commit by"):
            lock.fence.check()


def test_a_storage_that_fails_for_a_while_is_not_a_lost_lock(local, monkeypatch):
    """Whoever commits waits for it, as for any write; when it answers, the lock is ours still."""

    def refused(*_):
        raise PermissionError("no rights")

    with locked(local, "extract", pace=QUICK) as lock:
        with monkeypatch.context() as patch:
            patch.setattr(conditional_file._LocalFile, "read", refused)
            time.sleep(QUICK.lease + 0.2)
            with pytest.raises(PermissionError, match="no rights"):
                lock.fence.check()
        lock.fence.check()


def test_an_owner_that_cannot_renew_commits_until_another_takes_the_lock(local, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    with locked(local, "extract", pace=QUICK) as lock:
        monkeypatch.setattr(conditional_file._LocalFile, "replace", full)
        time.sleep(QUICK.lease + 0.2)
        lock.fence.check()
        left_by(Owner("train", elsewhere("b"), token=9), local)
        time.sleep(QUICK.fresh + 0.1)
        with pytest.raises(LostLockError, match="to train"):
            lock.fence.check()


def test_a_storage_without_rights_is_a_matter_of_the_request(server):
    with (
        pytest.raises(ConfigError, match=r"cannot write under s3://no-such-bucket/r: its lock .*NoSuchBucket.*network"),
        locked(Root("s3://no-such-bucket/r"), "extract"),
    ):
        pass


def test_a_takeover_that_was_broken_off_leaves_the_wait_to_the_next(local):
    """Whoever comes next may still meet the last writes of the first."""
    left_by(Owner("extract", elsewhere("gone"), settled=False, released=True), local)
    lines = []
    with locked(local, "train", pace=QUICK, tell=lines.append):
        pass
    assert "last writes" in lines[0]
    with locked(local, "train", pace=QUICK, tell=lines.append):
        pass
    assert len(lines) == 2, "the wait is over for good"  # 0.8 s in lines of 0.5 s


def test_a_write_that_arrived_though_its_answer_did_not_counts(local, monkeypatch):
    """Taking, renewing and giving back alike: the connection breaks after every write."""
    real = conditional_file._LocalFile.replace

    def broken(*given):
        real(*given)
        raise OSError("connection reset")

    monkeypatch.setattr(conditional_file._LocalFile, "replace", broken)
    with locked(local, "extract", pace=QUICK) as lock:
        lock.renew()
        lock.fence.check()
        assert standing(local).beat >= 1
    assert standing(local).released


# Versions before this lock.


def older(root: Root, **changed) -> dict:
    lock = {"job": "extract", "host": "elsewhere", "pid": 1, "since": 0.0, "id": "x", "beat": 1} | changed
    root.write_json(lock, "runs", "lock.json")
    return lock


def test_a_living_job_of_an_older_version_is_respected(root):
    lock = older(root)
    beat = threading.Timer(0.3, lambda: root.write_json({**lock, "beat": 2}, "runs", "lock.json"))
    beat.start()
    with pytest.raises(RootBusyError, match="in use by extract"), locked(root, "predict", pace=QUICK):
        pass
    beat.join()


def test_a_running_process_of_an_older_version_is_refused_at_once(local):
    older(local, host=here().host, pid=os.getpid(), since=time.time())
    with pytest.raises(RootBusyError, match="in use by extract"), locked(local, "train"):
        pass


def test_what_a_dead_job_of_an_older_version_left_goes(root):
    older(root)
    with locked(root, "train", pace=QUICK):
        assert not root.exists("runs", "lock.json")


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
            with locked(root, name, me=elsewhere(name), pace=replace(QUICK, lease=8.0)) as lock:
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
    with locked(root, "extract", pace=replace(QUICK, beat=60.0)) as lock:
        left_by(replace(standing(root), beat=1), root)
        lock.renew()
        lock.fence.check()
        assert standing(root).beat == 1
        assert standing(root).id == lock.fence.id


def test_of_many_threads_one_holds(root):
    barrier, results = threading.Barrier(8), []

    def start(number):
        barrier.wait()
        try:
            with locked(root, "train", me=elsewhere(str(number)), pace=QUICK):
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
            with locked(root, "train") as lock:
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
    """Its heart stands still for longer than a lease while it goes on committing: the new owner's commits come after
    all of its own, late PUTs included."""
    root = Root("s3://locks/stalled")
    pace = Pace(beat=0.3, lease=2.0, fresh=0.5, write=1.5, line=1.0)
    refused = threading.Event()

    def commit(lock, number):
        lock.fence.check()
        root.write_bytes(str(lock.fence.token).encode(), "journal", f"{lock.fence.token}-{number}")

    def stall():
        with locked(root, "extract", me=elsewhere("a"), pace=pace) as lock:
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
        with locked(root, "train", me=elsewhere("b"), pace=pace) as lock:
            for number in range(3):
                commit(lock, number)
        stalled.join()
    tokens = [int(arrival.body) for arrival in arrivals if "journal" in arrival.key]
    assert refused.is_set()
    assert tokens == sorted(tokens)
    assert set(tokens) == {1, 2}


def test_owners_are_plain_json(local):
    owner = Owner("extract", here())
    assert json.loads(owner.to_bytes()) == asdict(owner)
    assert Owner.from_bytes(owner.to_bytes()) == owner
