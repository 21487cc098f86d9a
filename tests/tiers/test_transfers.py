"""Copies to a device and back. Streams and pinned memory stand in for a GPU's: tests/gpu has those of a real one."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from m3ray.tiers import transfers
from m3ray.tiers.transfers import Transfers, transfers_of

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


class PretendedGpu:
    """What is asked of CUDA's streams, in order, while tensors pretend to be on a GPU."""

    def __init__(self, patch):
        self.log, self.streams = [], 0
        self.computing = _Stream(self, "compute")
        patch.setattr(torch.cuda, "Stream", self.make_stream)
        patch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
        patch.setattr(torch.cuda, "current_stream", lambda device=None: self.computing)
        patch.setattr(torch.Tensor, "is_pinned", lambda tensor: getattr(tensor, "pinned", False))
        patch.setattr(torch.Tensor, "pin_memory", self.pin())
        patch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: self.log.append("record_stream"))

    def make_stream(self, device):
        self.streams += 1
        return _Stream(self, "copy")

    def pin(self):
        def method(tensor):
            self.log.append("pin")
            return tensor

        return method


class _Stream:
    def __init__(self, gpu, name):
        self.gpu, self.name = gpu, name

    def record_event(self):
        self.gpu.log.append(f"event on {self.name}")
        return self

    def wait_event(self, event):
        self.gpu.log.append(f"{self.name} waits for {event.name}")

    def synchronize(self):
        self.gpu.log.append(f"host waits for {self.name}")


@pytest.fixture
def gpu(monkeypatch):
    pretended = PretendedGpu(monkeypatch)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield pretended


def test_all_uploads_of_an_actor_share_one_stream(gpu):
    copies = Transfers(GPU)
    for _ in range(5):
        copies.upload([torch.zeros(2, dtype=torch.uint8)])
    assert gpu.streams == 1


def test_uploads_begin_together_and_are_waited_for_one_by_one(gpu):
    first, second = Transfers(GPU).upload([torch.zeros(2), torch.zeros(3)])
    assert gpu.log == ["pin", "event on copy"] * 2
    assert (first.tensor.device, second.tensor.shape) == (GPU, (3,))
    gpu.log.clear()
    assert first.wait() is first.tensor
    assert gpu.log == ["compute waits for copy", "record_stream"], "a device's wait, not the caller's"


def test_what_is_pinned_is_not_copied_again(gpu):
    tensor = torch.zeros(2)
    tensor.pinned = True  # type: ignore[attr-defined]
    Transfers(GPU).upload([tensor])
    assert gpu.log == ["event on copy"]


@pytest.fixture
def real_numbers(monkeypatch):
    """A pretended GPU whose memory is the host's, so that its tensors have numbers; and the pinned memory given out."""
    pretended, pinned = PretendedGpu(monkeypatch), []
    copies = Transfers(CPU)
    copies._stream = pretended.make_stream(CPU)

    def allocate(shape, dtype):
        pinned.append(torch.empty(shape, dtype=dtype))
        return pinned[-1]

    monkeypatch.setattr(copies, "_allocate", allocate)
    return copies, pretended, pinned


def test_downloads_wait_once_at_the_end_of_all(real_numbers, monkeypatch):
    copies, gpu, _ = real_numbers
    copy_ = torch.Tensor.copy_

    def log_copy(tensor, source, *, non_blocking=False):
        gpu.log.append("copy" if non_blocking else "copy that waits")
        return copy_(tensor, source)

    monkeypatch.setattr(torch.Tensor, "copy_", log_copy)
    found = copies.download([torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])])
    assert [values.tolist() for values in found] == [[1, 2], [[3]]]
    assert gpu.log == ["copy", "copy", "event on compute", "host waits for compute"]


def test_downloads_are_copies_of_the_pinned_memory(real_numbers):
    copies, _, pinned = real_numbers
    (found,) = copies.download([torch.tensor([1.0, 2.0])])
    pinned[0].fill_(9)  # as whoever gets it from the pool next will do
    assert found.tolist() == [1, 2]


def test_a_slab_has_an_event_after_each_chunk_and_one_piece_of_pinned_memory(real_numbers, monkeypatch):
    monkeypatch.setattr(transfers, "_CHUNK", 24)
    copies, gpu, pinned = real_numbers
    arrays = [np.full((2, 6), k, np.uint8) for k in range(3)]
    uploads = copies.upload_slab([[array] for array in arrays])
    assert gpu.log == ["event on copy"] * 2, "the first two together, the third by itself"
    assert [memory.numel() for memory in pinned] == [36]
    gpu.log.clear()
    assert uploads[2].wait().tolist() == arrays[2].tolist()
    assert gpu.log == ["compute waits for copy", "record_stream"]


def test_on_a_cpu_nothing_is_copied_or_waited_for():
    copies = Transfers(CPU)
    tensor = torch.arange(3)
    (upload,) = copies.upload([tensor])
    assert upload.end is None
    assert upload.wait().data_ptr() == tensor.data_ptr()
    assert [values.tolist() for values in copies.download([tensor, tensor[:1]])] == [[0, 1, 2], [0]]


def test_staged_arrays_stand_one_after_the_other():
    arrays = [np.full((count, 2, 3), count, np.uint8) for count in (1, 2)]
    staged = Transfers(CPU).stage(arrays)
    assert np.array_equal(staged.numpy(), np.concatenate(arrays))
    assert staged.dtype == torch.uint8


def test_tiers_of_a_process_share_their_device_s_transfers():
    assert transfers_of(CPU) is transfers_of(torch.device("cpu"))
    assert transfers_of(CPU) is not transfers.transfers_of(torch.device("meta"))
