"""Steps on their way to the device; what needs a GPU is in tests/gpu/test_finetuning.py."""

import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from small_finetuning import PretendedDevice, part, some_clips

from m3ray.training.finetuning.feed import DeviceFeed, run_ahead


def test_on_a_cpu_nothing_is_copied_or_fetched_ahead():
    fetched = []

    def steps():
        for k in range(3):
            fetched.append(k)
            yield [some_clips(seed=k)]

    feed = DeviceFeed(torch.device("cpu"))
    for k, (clips,) in enumerate(feed.send(steps())):
        assert fetched == list(range(k + 1))
        assert torch.equal(clips.frames[0], some_clips(seed=k).frames[0])
    original = some_clips()
    assert original.copy_to(torch.device("cpu")).frames[0] is original.frames[0]


def test_what_is_computed_with_goes_to_the_device_and_what_is_decided_with_stays():
    clips = part(some_clips(), range(3)).copy_to(PretendedDevice.device)
    assert all(frames.is_meta for frames in clips.frames)
    assert (clips.rows.is_meta, clips.scores.is_meta) == (True, True)
    assert (clips.mask.is_cpu, clips.positions.is_cpu) == (True, True)
    assert len(list(clips.tensors())) == 3 + 4


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.int64])
def test_a_host_tensor_is_a_copy_of_what_may_be_read_only(kind):
    array = np.frombuffer(np.arange(6, dtype=kind).tobytes(), kind).reshape(2, 3)
    tensor = DeviceFeed(torch.device("cpu")).make_host_tensor(array)
    np.testing.assert_array_equal(tensor.numpy(), array)
    tensor += 1
    assert array[0, 0] == 0


def test_a_step_is_fetched_while_the_one_before_it_is_computed():
    begun = [threading.Event() for _ in range(4)]

    def items():
        for k in range(3):
            begun[k].set()
            yield k
        begun[3].set()

    for k in run_ahead(items()):
        assert begun[k + 1].wait(5), "the next one is on its way"
        assert not any(event.is_set() for event in begun[k + 2 :]), "and no more than that"


def test_what_fails_in_the_thread_fails_in_its_place():
    def items():
        yield 1
        raise OSError("no frames")

    found = run_ahead(items())
    assert next(found) == 1
    with pytest.raises(OSError, match="no frames"):
        next(found)


def test_whoever_ends_early_waits_for_nothing():
    begun, release, ended = (threading.Event() for _ in range(3))

    def items():
        yield 1
        begun.set()
        release.wait(30)
        ended.set()
        yield 2

    found = run_ahead(items())
    next(found)
    assert begun.wait(5)
    found.close()
    assert not ended.is_set(), "it came back while the next item was still on its way"
    release.set()
    assert ended.wait(5)


class Stream:
    """A stream of a GPU that is not there; it notes what is asked of it."""

    def __init__(self, calls, name):
        self.calls, self.name = calls, name

    def record_event(self):
        self.calls.append(f"event on {self.name}")
        return f"end on {self.name}"

    def wait_event(self, event):
        self.calls.append(f"{self.name} waits for {event}")


class OnGpu:
    """A tensor on that GPU, or one that stayed on the host."""

    def __init__(self, calls, is_cuda=True):
        self.calls, self.is_cuda = calls, is_cuda

    def record_stream(self, stream):
        self.calls.append(f"kept for {stream.name}")


class Part:
    """A micro-batch that notes on which stream and device it is copied."""

    def __init__(self, calls, current):
        self.calls, self.current = calls, current

    def copy_to(self, device):
        self.calls.append(f"copied to {device} on {self.current.stream}, device {self.current.device}")
        return self

    def tensors(self):
        return iter([OnGpu(self.calls), OnGpu(self.calls, is_cuda=False)])


@pytest.fixture
def pretended_gpu(monkeypatch):
    """Calls that a GPU's streams get, and the stream and device that are current in each thread."""
    calls, current, made = [], threading.local(), []
    current.stream, current.device = "computing", "cuda:0"

    def make_stream(device):
        made.append(Stream(calls, f"feed {len(made)} of {device}"))
        return made[-1]

    def as_current(name):
        @contextmanager
        def enter(value):
            before = getattr(current, name, "none")
            setattr(current, name, getattr(value, "name", value))
            yield
            setattr(current, name, before)

        return enter

    monkeypatch.setattr(torch.cuda, "Stream", make_stream)
    monkeypatch.setattr(torch.cuda, "stream", as_current("stream"))
    monkeypatch.setattr(torch.cuda, "device", as_current("device"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream(calls, f"{current.stream} of {device}"))
    return calls, current


def test_on_a_gpu_a_step_is_copied_on_the_feed_s_stream_and_waited_for_on_the_device(pretended_gpu):
    """The host waits for nothing: the computing stream does, and the copies' memory is kept until it has read them."""
    calls, current = pretended_gpu
    feed = DeviceFeed(torch.device("cuda:1"))
    (step,) = feed.send([[Part(calls, current), Part(calls, current)]])
    assert len(step) == 2
    copied = "copied to cuda:1 on feed 0 of cuda:1, device cuda:1"
    assert calls == [
        copied,
        copied,
        "event on feed 0 of cuda:1",
        "computing of cuda:1 waits for end on feed 0 of cuda:1",
        "kept for computing of cuda:1",
        "kept for computing of cuda:1",
    ]


def test_all_steps_are_copied_on_one_stream(pretended_gpu):
    """PyTorch keeps freed memory apart for each stream: a stream a step would take new memory a step."""
    calls, current = pretended_gpu
    list(DeviceFeed(torch.device("cuda:0")).send([[Part(calls, current)] for _ in range(3)]))
    assert {call for call in calls if call.startswith("event")} == {"event on feed 0 of cuda:0"}
