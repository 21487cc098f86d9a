"""jobs/unlock.py: whose lock it is, and its removal."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from m3ray.errors import LostLockError, RootBusyError
from m3ray.storage.fence import Pace
from m3ray.storage.lock import hold_lock
from m3ray.storage.lock_owner import Owner, ProcessIdentity, this_process
from m3ray.storage.root import Root
from m3ray.storage.unlocking import unlock

QUICK = Pace(beat=0.2, lease=2.0, fresh=0.5, write=0.3, line=0.5)
ELSEWHERE = ProcessIdentity("node-7", "another machine", 123, "1")
FILE = ("runs", "locks", "study.json")
TOP = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path / "root"))


@pytest.fixture
def said(root):
    lines = []

    def run(**options):
        lines.clear()
        unlock(root, tell=lines.append, pace=QUICK, **{"force": False, **options})
        return lines

    return run


def left_by(owner, root):
    root.write_bytes(owner.to_bytes(), *FILE)


def standing(root):
    return Owner.from_bytes(root.read_bytes(*FILE))


def test_without_a_lock_there_is_nothing_to_do(root, said):
    assert said() == [f"no lock is held in {root.uri}"]
    with hold_lock(root, "extract"):
        pass
    assert said() == [f"no lock is held in {root.uri}"]


def test_a_dead_owners_lock_is_removed_and_its_token_kept(root, said):
    left_by(Owner("extract", replace(this_process(), pid=2**22 + 5), token=4, since=0.0, sign=60.0), root)
    first, last = said()
    assert first.startswith(
        f"study: held by extract (process {2**22 + 5} on {this_process().host}), since 1970-01-01 00:00:00 UTC, "
        "last renewal 1970-01-01 00:01:00 UTC ("
    )
    assert first.endswith("token 4")
    assert "removed the lock of extract" in last
    assert standing(root).released
    with hold_lock(root, "train") as lock:
        assert lock.fence.token == 5


def test_an_owner_elsewhere_is_watched_for_a_lease_before_its_lock_is_removed(root, said):
    left_by(Owner("extract", ELSEWHERE), root)
    start = time.monotonic()
    lines = said()
    assert time.monotonic() - start >= QUICK.lease
    assert lines[1] == (
        "waiting for the lock of extract (process 123 on node-7, last renewal 0 s ago): removed in 2 s "
        "unless it is renewed"
    )
    assert standing(root).released
    assert not standing(root).settled, "whoever takes it next waits for its last writes"


@pytest.mark.parametrize(
    ("place", "would"),
    [
        (replace(this_process(), pid=2**22 + 5), "its lock would be removed"),
        (this_process(), "its process runs: its lock would stay"),
        (ELSEWHERE, "it runs on another machine: its lock would be removed after a while without a renewal"),
    ],
    ids=["dead", "alive", "elsewhere"],
)
def test_a_dry_run_says_what_would_become_of_the_lock(root, said, place, would):
    with hold_lock(root, "extract", pace=QUICK, me=place) as lock:
        assert said(dry=True)[0].rpartition("; ")[2].startswith(would)
        assert said(dry=True, force=True)[0].endswith("; its lock would be removed")
        lock.fence.check()


def test_an_owner_that_runs_here_is_refused_at_once(root, said):
    lines = []
    with hold_lock(root, "extract", pace=QUICK), pytest.raises(RootBusyError, match="is alive"):
        unlock(root, tell=lines.append, pace=QUICK, force=False)
    assert len(lines) == 1, "there is nothing to wait for"


@pytest.mark.parametrize("place", [None, ELSEWHERE], ids=["here", "elsewhere"])
def test_a_living_owner_keeps_its_lock(root, said, place):
    with hold_lock(root, "extract", pace=QUICK, me=place) as lock:
        with pytest.raises(RootBusyError, match=r"extract \(process \d+ on .*\) is alive: .*--force"):
            said()
        lock.fence.check()


def test_force_removes_a_living_owners_lock_and_it_stops(root, said):
    with hold_lock(root, "extract", pace=QUICK) as lock:
        assert "it stops at its next commit" in said(force=True)[-1]
        time.sleep(QUICK.fresh + 0.1)
        with pytest.raises(LostLockError, match=r"jobs/unlock\.py"):
            lock.fence.check()
    assert not standing(root).settled


def test_one_of_two_locks(root, said):
    with hold_lock(root, "extract", pace=QUICK) as study, hold_lock(root, "predict", pace=QUICK) as predict:
        said(works=("predict",), force=True)
        time.sleep(QUICK.fresh + 0.1)
        study.fence.check()
        with pytest.raises(LostLockError):
            predict.fence.check()


@pytest.mark.parametrize("file", [FILE, ("runs", "lock.json")], ids=["ours", "older"])
@pytest.mark.parametrize(
    "data",
    [
        b"[" * 200_000,
        b'{"job":' * 100_000,
        Owner("extract", ELSEWHERE).to_bytes().replace(b'"since": ', b'"since": 1e300, "was": '),
        Owner("extract", ELSEWHERE).to_bytes().replace(b'"released": false', b'"released": "no"'),
        b'{"job": "extract", "host": "node-7", "pid": 1, "since": 1e300}',
    ],
    ids=["lists", "objects", "far future", "released", "older's far future"],
)
def test_an_unreadable_lock_is_described_and_removed_by_force(root, said, file, data):
    root.write_bytes(data, *file)
    assert "held by an unreadable lock (process 0 on unknown)" in said(dry=True)[0]
    assert "removed the lock of an unreadable lock" in said(force=True)[-1]
    with hold_lock(root, "train", pace=QUICK) as lock:
        lock.fence.check()


def test_a_lock_of_an_older_version(root, said):
    older = {"job": "extract", "host": "node-7", "pid": 1, "since": 0.0, "id": "x", "beat": 1}
    root.write_json(older, "runs", "lock.json")
    assert "of an older version: held by extract (process 1 on node-7)" in said()[0]
    assert not root.exists("runs", "lock.json")


def test_the_command_names_the_owner_and_refuses_with_status_2(root):
    command = [sys.executable, str(TOP / "jobs" / "unlock.py"), "--out", root.uri, "--work", "study"]
    with hold_lock(root, "extract") as lock:
        shown = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=False, cwd=TOP)
        assert (shown.returncode, shown.stdout.count("study: held by extract (process")) == (0, 1), shown.stderr
        lock.fence.check()
        found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=TOP)
        assert found.returncode == 2
        assert "study: held by extract (process" in found.stdout
        assert "is alive" in found.stderr
        forced = subprocess.run([*command, "--force"], capture_output=True, text=True, check=False, cwd=TOP)
    assert forced.returncode == 0, forced.stderr
    assert "removed the lock of extract" in forced.stdout
