"""The owner of a lock: what its file may hold, and which process it names."""

import json
import os
from dataclasses import asdict, replace

import pytest
from locks import DEEP

from m3ray.storage.lock_owner import Owner, ProcessIdentity, read_start_time, this_machine, this_process


def test_this_process_runs_and_one_that_started_otherwise_does_not():
    me = this_process()
    assert (me.pid, me.machine) == (os.getpid(), this_machine())
    assert me.is_possible
    assert me.is_running
    assert not replace(me, started="1").is_running, "a process that reuses the number"
    assert not replace(me, pid=2**22 + 5).is_running


def test_an_owner_is_described_by_job_process_and_host():
    assert str(Owner("extract", ProcessIdentity("node-7", "m", 12, "1"))) == "extract (process 12 on node-7)"


def test_a_start_is_the_kernels_own(local):
    assert read_start_time(os.getpid()) == read_start_time(os.getpid()) != ""
    assert read_start_time(2**22 + 5) == ""  # beyond the largest process number of Linux


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
    data = json.dumps(asdict(Owner("extract", this_process())) | changed).encode()
    assert Owner.from_bytes(data) == Owner.from_bytes(b"")


@pytest.mark.parametrize(
    "changed", [{"pid": 2**40}, {"pid": -1}, {"host": 1}, {"machine": []}, {"started": None}], ids=str
)
def test_a_place_that_cannot_be_is_no_owners(changed):
    whole = asdict(Owner("extract", this_process()))
    assert Owner.from_bytes(json.dumps(whole).encode()).job == "extract"
    data = json.dumps(whole | {"place": whole["place"] | changed}).encode()
    assert Owner.from_bytes(data) == Owner.from_bytes(b"")


def test_owners_are_plain_json(local):
    owner = Owner("extract", this_process())
    assert json.loads(owner.to_bytes()) == asdict(owner)
    assert Owner.from_bytes(owner.to_bytes()) == owner
