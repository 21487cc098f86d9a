"""What a worker may do, and what is said of what it may not."""

import dataclasses

import pytest

from m3ray.errors import StorageError
from m3ray.pipelines.extraction import worker_checks
from m3ray.pipelines.extraction.worker_checks import (
    CheckResult,
    LateNodeCheck,
    WorkerCheck,
    failure_message,
    find_failures,
)
from m3ray.pipelines.runtime.node_kinds import Node
from m3ray.video.access import AccessFailure, ReadProbe

NODE = Node("n", "10.0.0.7", "16 CPUs, 1 GPUs L4, 62 GiB")


CHECK = WorkerCheck("s3://roots/r", None, (("s3://clips/a.mp4",), ("/videos/b.mp4",)))


DENIED = AccessFailure("read", "s3://clips/a.mp4", "AccessDenied", "Access Denied")


ALL = CheckResult((ReadProbe("s3://clips/a.mp4"), ReadProbe("/videos/b.mp4")))


def test_nodes_that_may_do_it_all():
    assert find_failures(ALL, CHECK, (True, True)) == []


def test_a_line_names_the_node_what_was_tried_the_answer_and_what_to_do():
    failures = find_failures(
        dataclasses.replace(ALL, reads=(ReadProbe(failure=DENIED), ALL.reads[1])), CHECK, (True, True)
    )
    assert failure_message(NODE, failures) == (
        "preflight: the workers of 10.0.0.7 (16 CPUs, 1 GPUs L4, 62 GiB) cannot read s3://clips/a.mp4: 403 "
        "AccessDenied (Access Denied), though the driver can: give the workers' role s3:GetObject on "
        "arn:aws:s3:::clips/*"
    )


def test_where_the_driver_cannot_either_that_is_said():
    failures = find_failures(
        dataclasses.replace(ALL, reads=(ReadProbe(failure=DENIED), ALL.reads[1])), CHECK, (False, True)
    )
    assert "nor can the driver: give the workers' and the driver's role s3:GetObject" in failure_message(NODE, failures)


def test_writing_and_reading_are_told_together():
    write_failure = AccessFailure("write", "s3://roots/r/runs/x", "NoCredentials", "no credentials")
    result = CheckResult((ReadProbe(failure=DENIED), ALL.reads[1]), write_failure=write_failure)
    line = failure_message(NODE, find_failures(result, CHECK, (True, True)))
    assert "cannot read s3://clips/a.mp4" in line
    assert "; cannot write s3://roots/r/runs/x: NoCredentials (no credentials)" in line
    assert "give the workers' machines a role with s3:PutObject on arn:aws:s3:::roots/*" in line


def test_videos_on_the_driver_s_own_disk_are_told_from_missing_ones():
    result = CheckResult((ALL.reads[0], ReadProbe()))
    assert find_failures(result, CHECK, (True, False)) == [], "nobody sees it: a clip that is missing"
    line = failure_message(NODE, find_failures(result, CHECK, (True, True)))
    assert "cannot read /videos/b.mp4: it is on the driver's machine and not on theirs: put the videos where" in line


def test_missing_objects_are_the_clips_own():
    assert find_failures(CheckResult((ReadProbe(), ALL.reads[1])), CHECK, (True, True)) == []


def test_a_root_on_the_driver_s_own_disk_is_told_and_no_folder_of_its_name_made(tmp_path):
    check = WorkerCheck(str(tmp_path / "root"), ("runs", "write-test-of-the-driver"), ())
    result = check.run()
    assert not result.is_shared
    assert not (tmp_path / "root").exists()
    line = failure_message(NODE, find_failures(result, check, ()))
    assert "it is on the driver's machine and not on theirs: put the root (--out) where all nodes see it" in line


def test_a_finding_of_this_machine(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    result = WorkerCheck(str(tmp_path), None, ((str(tmp_path / "a.mp4"),),)).run()
    assert result.reads == (ReadProbe(str(tmp_path / "a.mp4")),)
    assert (result.write_failure, result.is_shared) == (None, True)
    assert {"torch", "av", "numpy"} <= set(result.software)


def test_a_storage_that_hangs_is_told_in_time(monkeypatch, tmp_path):
    from threading import Event

    monkeypatch.setattr(worker_checks, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(worker_checks, "probe_read", lambda _: Event().wait(5))
    (read,) = WorkerCheck(str(tmp_path), None, (("s3://clips/a.mp4",),)).probe_reads()
    assert read.failure == AccessFailure("read", "s3://clips/a.mp4", "TimedOut", "no answer within 0 s")


def test_a_later_node_of_a_known_kind_is_not_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(worker_checks, "find_this_node", lambda: NODE)
    monkeypatch.setattr(WorkerCheck, "run", lambda _: asked.append(1) or ALL)
    LateNodeCheck(CHECK, (True, True), frozenset({NODE.kind}), "job").run()
    assert asked == []
    LateNodeCheck(CHECK, (True, True), frozenset(), "job").run()
    assert asked == [1]


def test_a_later_node_s_passing_fault_is_left_to_the_job(monkeypatch):
    """It waits for a network that is down; it does not stop all others."""
    asked = []

    def answer(code):
        failure = AccessFailure("read", "s3://clips/a.mp4", code)
        return lambda _: asked.append(code) or CheckResult((ReadProbe(failure=failure), ALL.reads[1]))

    monkeypatch.setattr(worker_checks, "find_this_node", lambda: NODE)
    monkeypatch.setattr(WorkerCheck, "run", answer("ConnectionFailed"))
    assert LateNodeCheck(CHECK, (True, True), frozenset(), "job").run() is None
    monkeypatch.setattr(WorkerCheck, "run", answer("AccessDenied"))
    with pytest.raises(StorageError, match="AccessDenied"):
        LateNodeCheck(CHECK, (True, True), frozenset(), "other job").run()
    assert asked == ["ConnectionFailed", "AccessDenied"]
