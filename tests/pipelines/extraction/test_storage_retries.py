"""Stages over a storage that fails: moto's S3 behind a scripted proxy. Without Ray."""

import time

import pytest
from failing_storage import LIMITS, SleepClock, fail_reads, make_retry, make_work, upload_clips
from faulty_s3 import scripted_s3
from ledgers import Handle

from m3ray.config import DecodeConfig
from m3ray.console import LineKeeper
from m3ray.errors import StorageError
from m3ray.pipelines.extraction import storage_retries
from m3ray.pipelines.extraction.crash_guard import Ledger
from m3ray.pipelines.extraction.decode_stage import DecodeStage
from m3ray.pipelines.extraction.records import unpack_decoded_clips
from m3ray.pipelines.extraction.storage_retries import make_persistent_retry, write_or_fault
from m3ray.storage.faults import BY_CODE, StorageFaultError


@pytest.fixture
def clock():
    return SleepClock()


def decode(clock, count, seconds=60.0):
    stage = DecodeStage(DecodeConfig(), LIMITS)
    stage.retry = make_retry(clock, seconds)
    return [row for table in stage(make_work(count)) for row in unpack_decoded_clips(table)]


def test_rights_lost_for_two_minutes_reject_nothing(clock):
    """The issue's number, with a clock of its own; the storage fails between its 5th and its 125th second."""
    failing = lambda _: "403" if 5 <= clock.now < 125 else None  # noqa: E731
    with scripted_s3(fail_reads(failing)) as requests, LineKeeper():
        upload_clips(8)
        clock.now = 4.9
        del requests[:]
        rows = []
        stage = DecodeStage(DecodeConfig(), LIMITS)
        stage.retry = make_retry(clock, 300)
        for table in stage(make_work(8)):
            rows += unpack_decoded_clips(table)
            clock.now += 0.1
    assert [row.failure for row in rows] == [None] * 8
    assert clock.now > 125
    assert len(requests) < 8 + 60, "one probe every few seconds, whatever the length of the pause"


def test_credentials_that_expired_stop_the_job_with_what_to_do(clock):
    words = r"400 ExpiredToken on s3://clips/00\.mp4: renew the session"
    with scripted_s3(fail_reads(lambda _: "expired")) as requests:
        upload_clips(3)
        del requests[:]
        with pytest.raises(StorageError, match=words) as error:
            decode(clock, 3)
    assert error.value.exit_status == 1
    assert "Nothing was rejected" in str(error.value)
    assert 60 <= clock.now < 70
    assert len(requests) < 30, "not clip by clip, and not without an end"


def test_missing_objects_are_rejects_and_denied_ones_wait(clock):
    """A third of the objects missing, one denied for good, one archived: the right class each."""
    missing = {1, 4, 7}
    choose = {"/clips/02.mp4": "403", "/clips/05.mp4": "archived"}
    with scripted_s3(fail_reads(choose.get)):
        upload_clips(9, missing)
        rows = decode(clock, 9)
    found = {row.clip_id: row.failure and row.failure.error for row in rows}
    rejected = {f"{k:02d}" for k in missing}
    assert {name for name, error in found.items() if error == "missing_file"} == rejected
    assert {name for name, error in found.items() if error == "storage_failed"} == {"02", "05"}
    messages = {row.clip_id: row.failure.message for row in rows if row.failure}
    assert messages["02"].startswith("403 AccessDenied: cannot read s3://clips/02.mp4")
    assert messages["05"].startswith("403 InvalidObjectState")
    assert clock.now < 10, "clips of their own fault cost seconds"


def test_a_root_that_stays_closed_stops_the_job(tmp_path, clock):
    def closed():
        raise OSError("AWS Error ACCESS_DENIED during PutObject operation: Access Denied")

    retry = make_retry(clock, may_give_up=False)
    with pytest.raises(StorageError, match="403 AccessDenied on s3://b/root: check the role"):
        retry.call("s3://b/root", lambda: write_or_fault("s3://b/root", closed))
    assert 60 <= clock.now < 70


def test_a_mistake_in_writing_is_not_waited_for(tmp_path):
    def wrong():
        raise OSError(36, "File name too long")

    with pytest.raises(OSError, match="name too long"):
        make_persistent_retry(LIMITS).call(str(tmp_path), lambda: write_or_fault(str(tmp_path), wrong))


def test_workers_share_what_they_know_through_the_ledger(monkeypatch, clock):
    """One reads, the other's clip is denied: given up, without a pause."""
    monkeypatch.setattr(storage_retries.ray, "get", lambda value, **_: value)
    ledger = Ledger(60)
    one, two = (storage_retries.make_retry(LIMITS, Handle(ledger)) for _ in range(2))
    failing = StorageFaultError(BY_CODE["AccessDenied"], "403")
    seen = []

    def denied():
        seen.append(len(seen))
        time.sleep(0.01)
        one.call("s3://b/good", lambda: b"x")
        one._last_report = float("-inf")
        raise failing

    two.sleep = clock.sleep
    with pytest.raises(StorageFaultError):
        two.call("s3://b/bad", denied)
    assert len(seen) == BY_CODE["AccessDenied"].attempts
    assert ledger.pause_state() is None
    assert ledger.stop_reason() == ""
