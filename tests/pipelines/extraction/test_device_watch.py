"""What the driver says about GPUs. The ledger is called as an actor would be, without Ray."""

import pytest
from ledgers import Handle

from m3ray.console import LineKeeper
from m3ray.errors import LostDeviceError
from m3ray.pipelines.extraction import device_watch
from m3ray.pipelines.extraction.crash_guard import Ledger
from m3ray.pipelines.extraction.device_watch import report_devices


@pytest.fixture
def ledger(monkeypatch):
    monkeypatch.setattr(device_watch.ray, "get", lambda value, timeout: value)
    made = Ledger()
    made.devices.start_pass(1, 1)
    made.devices.enter("node-1:0", "GPU 0 of node 10.0.0.5")
    return made


def test_each_line_is_said_once_and_in_the_pass_in_which_it_happened(ledger):
    ledger.lose_device("node-1:0", ["tier:a"], "CUDA error: misaligned address")
    with LineKeeper() as log:
        with report_devices(Handle(ledger)):
            ledger.lose_device("node-1:0", [], "CUDA error: misaligned address")
        with report_devices(Handle(ledger)):
            pass
    (line,) = log.lines
    assert line.endswith(
        "extract: GPU 0 of node 10.0.0.5 (CUDA error: misaligned address) failed: a new process takes over, gray "
        "frames failed too"
    )


def test_the_loss_of_the_last_gpu_is_one_error(ledger):
    for _ in range(3):
        ledger.lose_device("node-1:0", [], "CUDA error: misaligned address")
    words = "no GPU is left to compute on, 1 failed again and again: GPU 0 of"
    with pytest.raises(LostDeviceError, match=words), report_devices(Handle(ledger)):
        raise RuntimeError("Ray's traceback")


def test_any_other_error_stays(ledger):
    with pytest.raises(RuntimeError, match="Ray's traceback"), report_devices(Handle(ledger)):
        raise RuntimeError("Ray's traceback")


def test_a_ledger_that_does_not_answer_hides_no_error(ledger, monkeypatch):
    def be_gone(*_):
        raise RuntimeError("the ledger's process died")

    def work():
        monkeypatch.setattr(ledger, "call_part", be_gone)
        raise ValueError("what really happened")

    with pytest.raises(ValueError, match="what really happened"), report_devices(Handle(ledger)):
        work()


class Looks:
    """A stop that comes with the third look; `at_look` is called before each."""

    def __init__(self, at_look):
        self.count, self.at_look = 0, at_look

    def wait(self, _seconds):
        self.count += 1
        self.at_look(self.count)
        return self.count == 3


def test_several_looks_say_each_line_once_and_a_missed_look_is_no_end(ledger, monkeypatch):
    answering = ledger.call_part

    def be_silent(*_):
        raise TimeoutError

    def change(look):
        if look == 1:
            ledger.lose_device("node-1:0", ["tier:a"], "CUDA error: misaligned address")
        monkeypatch.setattr(ledger, "call_part", be_silent if look == 2 else answering)

    with LineKeeper() as log:
        device_watch._watch(Handle(ledger), 0, Looks(change))
    assert [line.count("misaligned address") for line in log.lines] == [1]
