"""What a tier actor does about its GPU. The ledger is called as an actor would be, without Ray."""

import pytest
from ledgers import Handle

from m3ray.errors import LostDeviceError
from m3ray.pipelines.extraction import device_guard
from m3ray.pipelines.extraction.crash_guard import Ledger
from m3ray.pipelines.extraction.device_faults import DeviceFaultError
from m3ray.pipelines.extraction.device_guard import DeviceGuard

FAULT = DeviceFaultError("CUDA error: misaligned address")


@pytest.fixture
def ledger(monkeypatch):
    monkeypatch.setattr(device_guard.ray, "get", lambda value: value)
    monkeypatch.setattr(device_guard, "gpu_name", lambda: "node-1:0")
    monkeypatch.setattr(device_guard, "_describe_gpu", lambda: "GPU 0 of node 10.0.0.5")
    made = Ledger()
    made.devices.start_pass(1, 2)
    return made


def fail():
    raise FAULT


def test_gray_frames_are_computed_after_a_failure_alone(ledger):
    DeviceGuard(Handle(ledger)).prove(fail)
    ledger.lose_device("node-1:0", ["tier:a"], "words")
    computed = []
    guard = DeviceGuard(Handle(ledger))
    for _ in range(2):
        guard.prove(lambda: computed.append(1))
    assert computed == [1]
    with pytest.raises(DeviceFaultError):
        DeviceGuard(Handle(ledger)).prove(fail)
    assert [len(clips) for clips in ledger.devices.gpus["node-1:0"].failures] == [1, 0]


def test_what_networks_failed_with_when_they_were_loaded_counts_once_there_are_clips(ledger):
    guard = DeviceGuard(Handle(ledger))
    guard.keep_fault(FAULT)
    assert ledger.devices.gpus["node-1:0"].failures == []
    with pytest.raises(DeviceFaultError, match="misaligned address"):
        guard.prove(lambda: None)
    assert ledger.devices.gpus["node-1:0"].reason == str(FAULT)


def test_a_process_on_a_banned_gpu_waits_where_it_is_made(ledger, monkeypatch):
    DeviceGuard(Handle(ledger))
    for _ in range(3):
        ledger.lose_device("node-1:0", [], "words")
    ledger.devices.start_pass(2, 3)  # another GPU is to come
    waits = []

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            ledger.devices.enter("node-2:0", "")
            for _ in range(3):
                ledger.lose_device("node-2:0", [], "words")

    monkeypatch.setattr(device_guard.time, "sleep", wait)
    guard = DeviceGuard(Handle(ledger))
    assert (len(waits), guard.is_banned_here, guard.is_banned()) == (3, True, True)
    ledger.devices.start_pass(2, 2)
    with pytest.raises(LostDeviceError, match="no GPU is left to compute on, 2 failed"):
        guard.is_banned()


def test_a_process_whose_gpu_another_one_gets_banned_ends_so_that_it_is_sent_no_more(ledger, monkeypatch):
    """Two actors share a GPU: the one that lives would hand back whatever is decoded, as the idlest of all."""
    ended = []
    monkeypatch.setattr(device_guard.os, "_exit", ended.append)
    guard = DeviceGuard(Handle(ledger))
    assert not guard.is_banned()
    for _ in range(3):
        ledger.lose_device("node-1:0", [], "words")
    guard.is_banned()
    assert ended == [75]


def test_a_computed_batch_ends_a_row(ledger):
    guard = DeviceGuard(Handle(ledger))
    ledger.lose_device("node-1:0", ["tier:a"], "words")
    guard.note_computed()
    assert ledger.devices.gpus["node-1:0"].failures == []


def test_the_process_ends_with_a_ledger_and_raises_without_one(ledger, monkeypatch):
    ended = []
    monkeypatch.setattr(device_guard.os, "_exit", ended.append)
    DeviceGuard(Handle(ledger)).end_process(FAULT)
    assert ended == [75]
    guard = DeviceGuard(None)
    with pytest.raises(DeviceFaultError):
        guard.end_process(FAULT)
    assert (guard.gpu, guard.is_banned()) == ("", False)
    guard.note_ready()
    guard.note_computed()
    guard.prove(fail)


def test_the_ledger_learns_that_the_networks_are_loaded(ledger):
    guard = DeviceGuard(Handle(ledger))
    assert ledger.devices.gpus["node-1:0"].starting is not None
    guard.note_ready()
    assert ledger.devices.gpus["node-1:0"].starting is None
