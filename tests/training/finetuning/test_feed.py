"""Steps on their way to the device; what needs a GPU is in tests/gpu/test_finetuning.py."""

import threading

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
