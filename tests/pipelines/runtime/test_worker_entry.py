"""What travels to workers in Ray Data's context, and what a worker does with it. No Ray is started."""

import os
from dataclasses import dataclass

import pytest

from m3ray.errors import StorageError
from m3ray.pipelines.runtime import worker_entry
from m3ray.pipelines.runtime.worker_entry import (
    enter_worker,
    get_readable_clip,
    send_check,
    send_environment,
    set_readable_clip,
)

BUCKETS = "M3RAY_ANONYMOUS_BUCKETS"
RUNS, HIDDEN = [], []


@dataclass(frozen=True)
class Check:
    job: str

    def run(self):
        RUNS.append(self.job)
        if self.job == "without rights":
            raise StorageError("may not read")


@pytest.fixture
def in_ray(monkeypatch):
    monkeypatch.setattr(worker_entry.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(worker_entry, "hide_gpus", lambda: HIDDEN.append(True))
    HIDDEN.clear()
    RUNS.clear()
    worker_entry._run_check.cache_clear()


def test_a_worker_gets_the_job_s_access_to_storage(monkeypatch):
    monkeypatch.setenv(BUCKETS, "open-videos")
    send_environment()
    monkeypatch.setenv(BUCKETS, "another job's")
    enter_worker()
    assert os.environ[BUCKETS] == "open-videos"


def test_a_check_is_run_once_a_process_and_job(in_ray):
    send_check(Check("one"))
    enter_worker()
    enter_worker()
    send_check(Check("two"))
    enter_worker()
    assert RUNS == ["one", "two"]


def test_a_check_that_fails_fails_each_stage_anew(in_ray):
    send_check(Check("without rights"))
    for _ in range(2):
        with pytest.raises(StorageError, match="may not read"):
            enter_worker()
    assert len(RUNS) == 2


def test_outside_a_cluster_no_check_is_run(in_ray, monkeypatch):
    monkeypatch.setattr(worker_entry.ray, "is_initialized", lambda: False)
    send_check(Check("one"))
    enter_worker()
    assert RUNS == []


def test_what_an_earlier_job_sent_is_dropped(in_ray):
    send_check(Check("one"))
    set_readable_clip("s3://videos/a.mp4")
    assert get_readable_clip() == "s3://videos/a.mp4"
    send_environment()
    enter_worker()
    assert (RUNS, get_readable_clip()) == ([], "")


def test_every_worker_hides_gpus_that_are_not_its_own(in_ray):
    enter_worker()
    assert HIDDEN == [True]
