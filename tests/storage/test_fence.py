"""The fencing token: whoever lost the lock commits no more, and a storage that fails for a while is no lost lock."""

import pickle
import time

import pytest
from locks import FILE, QUICK, elsewhere, leave_lock, read_lock

from m3ray.errors import LostLockError, RootBusyError
from m3ray.storage import conditional_file
from m3ray.storage import fence as fences
from m3ray.storage.fence import Pace
from m3ray.storage.lock import hold_lock, lock_uri
from m3ray.storage.lock_owner import Owner


def test_a_new_owner_waits_for_the_last_check_and_the_write_that_it_allowed():
    assert Pace(beat=1.0, lease=9.0, fresh=2.0, write=3.0).settling == 5.0


def test_an_owner_whose_lock_was_overwritten_stops(root):
    with hold_lock(root, "extract", pace=QUICK) as lock:
        lock.fence.check()
        leave_lock(Owner("train", elsewhere("b"), token=9), root)
        time.sleep(QUICK.fresh + 0.1)
        with pytest.raises(RootBusyError, match=r"lost the lock of extract .* to train \(process 7 on elsewhere\)"):
            lock.fence.check()
        assert read_lock(root).job == "train"
    assert not read_lock(root).released, "another's lock is not given back"


def test_an_owner_whose_lock_was_deleted_stops(root):
    with hold_lock(root, "extract", pace=QUICK) as lock:
        root.delete(*FILE)
        time.sleep(QUICK.beat + 0.2)
        with pytest.raises(LostLockError, match="its file is gone") as caught:
            lock.fence.check()
        assert caught.value.exit_status == 1


def test_a_fence_travels_to_workers_and_reads_once_every_few_seconds(root, monkeypatch):
    with hold_lock(root, "extract") as lock:
        fence = pickle.loads(pickle.dumps(lock.fence))
        reads = []
        real = fences.open_conditional_file
        monkeypatch.setattr(fences, "open_conditional_file", lambda uri: reads.append(uri) or real(uri))
        for _ in range(100):
            fence.check()
        assert reads == [lock_uri(root, "study")]


def test_workers_that_outlive_their_job_commit_no_more(root):
    with hold_lock(root, "extract", pace=QUICK) as lock:
        fence = pickle.loads(pickle.dumps(lock.fence))
        fence.check()
    time.sleep(QUICK.fresh)
    with pytest.raises(LostLockError, match="released"):
        fence.check()


def test_an_answer_that_was_long_on_its_way_is_no_knowledge(local, monkeypatch):
    """A lock read in more than `fresh` seconds may have been taken since it was read."""
    with hold_lock(local, "extract", pace=QUICK) as lock:
        real = fences.open_conditional_file

        class Slow:
            def __init__(self, uri):
                self.file = real(uri)

            def read(self):
                found = self.file.read()
                time.sleep(QUICK.fresh + 0.1)
                return found

        monkeypatch.setattr(fences, "open_conditional_file", Slow)
        with pytest.raises(TimeoutError, match=r"the lock of extract .* too long to commit safely"):
            lock.fence.check()


def test_a_storage_that_fails_for_a_while_is_not_a_lost_lock(local, monkeypatch):
    """Whoever commits waits for it, as for any write; when it answers, the lock is ours still."""

    def refused(*_):
        raise PermissionError("no rights")

    with hold_lock(local, "extract", pace=QUICK) as lock:
        with monkeypatch.context() as patch:
            patch.setattr(conditional_file._LocalFile, "read", refused)
            time.sleep(QUICK.lease + 0.2)
            with pytest.raises(PermissionError, match="no rights"):
                lock.fence.check()
        lock.fence.check()


def test_an_owner_that_cannot_renew_commits_until_another_takes_the_lock(local, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    with hold_lock(local, "extract", pace=QUICK) as lock:
        monkeypatch.setattr(conditional_file._LocalFile, "replace", full)
        time.sleep(QUICK.lease + 0.2)
        lock.fence.check()
        leave_lock(Owner("train", elsewhere("b"), token=9), local)
        time.sleep(QUICK.fresh + 0.1)
        with pytest.raises(LostLockError, match="to train"):
            lock.fence.check()
