"""Waiting for a lock: its owner's renewals decide, and jobs of older versions are respected."""

import os
import threading
import time

import pytest
from locks import FILE, QUICK, elsewhere, leave_legacy_lock, leave_lock

from m3ray.errors import RootBusyError
from m3ray.storage.conditional_file import Version, open_conditional_file
from m3ray.storage.fence import Pace
from m3ray.storage.lock import hold_lock
from m3ray.storage.lock_owner import Owner, ProcessIdentity, this_process
from m3ray.storage.lock_waiting import (
    LockWatch,
    describe_wait,
    is_legacy_owner_running,
    legacy_lease,
    legacy_lock_uri,
    parse_legacy_owner,
    root_busy_error,
)
from m3ray.storage.root import Root

OWNER = Owner("extract", ProcessIdentity("node-7", "m", 12, "1"), since=0.0)


def test_an_error_names_the_owner_and_the_way_out(tmp_path):
    text = str(root_busy_error(Root(str(tmp_path / "a b")), OWNER))
    assert "is in use by extract (process 12 on node-7), since 1970-01-01 00:00:00 UTC" in text
    assert text.endswith(f"python jobs/unlock.py --out '{tmp_path}/a b'"), "to be pasted into a shell"


def test_a_line_says_whom_it_waits_for_and_how_long():
    assert describe_wait(OWNER, 4.4, 15.6) == (
        "waiting for the lock of extract (process 12 on node-7, last renewal 4 s ago): taken over in 16 s unless it is "
        "renewed"
    )
    assert "removed in 0 s" in describe_wait(OWNER, 30.0, -1.0, "removed")


@pytest.fixture
def watch(local):
    leave_lock(OWNER, local)
    file = open_conditional_file(local.display(*FILE))
    return LockWatch(local, file, 0.4, 0.0, Pace(line=0.1), [].append), file.read()


def test_a_lease_without_a_renewal_is_silence(watch):
    watching, seen = watch
    start = time.monotonic()
    assert watching.wait_for_silence(seen, OWNER)
    assert time.monotonic() - start >= 0.4


def test_a_released_or_deleted_lock_ends_the_wait(watch, local):
    watching, seen = watch
    leave_lock(Owner("extract", OWNER.place, released=True), local)
    assert not watching.wait_for_silence(seen, OWNER)
    local.delete(*FILE)
    assert not watching.wait_for_silence(seen, OWNER)


def test_a_renewal_or_another_owner_ends_it_with_an_error(watch, local):
    watching, seen = watch
    leave_lock(Owner("train", elsewhere("b"), beat=3), local)
    with pytest.raises(RootBusyError, match="in use by train"):
        watching.wait_for_silence(seen, OWNER)


def test_an_older_version_s_lock_lies_elsewhere_and_lasts_longer(local):
    assert legacy_lock_uri(local) == f"{local.uri}/runs/lock.json"
    assert legacy_lease(Pace(lease=25.0)) == 35.0


def test_an_older_version_s_owner_is_read():
    owner = parse_legacy_owner(Version(b'{"job": "train", "host": "h", "pid": 3, "since": 5.0}', "tag"))
    assert (owner.job, owner.place, owner.since) == ("train", ProcessIdentity("h", "", 3, ""), 5.0)
    assert parse_legacy_owner(Version(b"{}", "tag")).job == "an unreadable lock"


def test_an_older_version_s_owner_runs_here_if_it_started_before_it_took_the_lock():
    here = ProcessIdentity(this_process().host, "", os.getpid(), "")
    assert is_legacy_owner_running(Owner("extract", here, since=time.time()))
    assert not is_legacy_owner_running(Owner("extract", here, since=0.0)), "its number was reused"
    assert not is_legacy_owner_running(Owner("extract", ProcessIdentity("other", "", os.getpid(), "")))


@pytest.mark.parametrize(
    "changed", [{"since": 1e300}, {"since": "nan"}, {"since": -1}, {"pid": 1e300}, {"pid": 2**70}], ids=str
)
def test_an_older_lock_with_values_that_no_job_writes_is_taken(local, changed):
    leave_legacy_lock(local, host=this_process().host, **changed)
    lines = []
    with hold_lock(local, "train", pace=QUICK, tell=lines.append):
        assert not local.exists("runs", "lock.json")
    assert "unreadable" in lines[0]


def test_a_living_job_of_an_older_version_is_respected(root):
    lock = leave_legacy_lock(root)
    beat = threading.Timer(0.3, lambda: root.write_json({**lock, "beat": 2}, "runs", "lock.json"))
    beat.start()
    with pytest.raises(RootBusyError, match="in use by extract"), hold_lock(root, "predict", pace=QUICK):
        pass
    beat.join()


def test_a_running_process_of_an_older_version_is_refused_at_once(local):
    leave_legacy_lock(local, host=this_process().host, pid=os.getpid(), since=time.time())
    with pytest.raises(RootBusyError, match="in use by extract"), hold_lock(local, "train"):
        pass


def test_what_a_dead_job_of_an_older_version_left_goes(root):
    leave_legacy_lock(root)
    with hold_lock(root, "train", pace=QUICK):
        assert not root.exists("runs", "lock.json")
