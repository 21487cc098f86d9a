"""A worker's device: what it was promised, or an error."""

import pytest
import torch
from ray.train import ControllerError, WorkerGroupError

from m3ray.errors import LostDeviceError
from m3ray.pipelines.finetuning import worker_device
from m3ray.pipelines.finetuning.worker_device import WorkerDeviceConfig, claim_device, find_lost_device


def test_a_worker_that_was_promised_a_gpu_never_computes_on_a_cpu():
    if torch.cuda.is_available():
        pytest.skip("this PyTorch computes on a GPU")
    with pytest.raises(LostDeviceError, match=r"a GPU was promised to .* cannot compute on it"):
        claim_device(gpu=True)


def test_a_worker_that_was_promised_none_sees_none(monkeypatch):
    taken = []
    monkeypatch.setattr(worker_device, "get_device", lambda: pytest.fail("Ray Train would give it the first one"))
    monkeypatch.setattr(worker_device, "take_device", lambda gpu: taken.append(gpu) or torch.device("cpu"))
    assert claim_device(gpu=False) == torch.device("cpu")
    assert taken == [False]


def test_a_worker_takes_its_own_of_its_node_s_gpus(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(worker_device, "get_device", lambda: torch.device("cuda:3"))
    monkeypatch.setattr(worker_device, "take_device", lambda gpu: chosen.append("checked") or torch.device("cuda"))
    assert claim_device(gpu=True) == torch.device("cuda:3")
    assert chosen == [torch.device("cuda:3"), "checked"], "its own is the current one before it is computed on"


@pytest.mark.parametrize(("gpu", "backend"), [(True, "cpu:gloo,cuda:nccl"), (False, "gloo")])
def test_workers_are_asked_for_their_devices_before_they_connect(monkeypatch, gpu, backend):
    calls = []
    config = WorkerDeviceConfig(gpu=gpu)
    group = type("Group", (), {"execute": lambda _, run, gpu: calls.append((run, gpu))})()
    monkeypatch.setattr(config.backend_cls.__mro__[1], "on_start", lambda *_: calls.append("connect"))
    config.backend_cls().on_start(group, config)
    assert calls == [(worker_device._check_device, gpu), "connect"]
    assert config.backend == backend


def test_a_lost_device_is_found_in_what_ray_wraps_it_in():
    lost = LostDeviceError("a GPU was promised")
    outer, of_worker = ControllerError(lost), WorkerGroupError("two failed", {0: ValueError("other"), 1: lost})
    assert str(find_lost_device(outer)) == str(find_lost_device(of_worker)) == "a GPU was promised"
    assert find_lost_device(RuntimeError("anything else")) is None


@pytest.mark.parametrize("gpu", [True, False])
def test_what_workers_are_asked_is_to_claim_their_device(monkeypatch, gpu):
    """Nothing goes back to the controller: a device of a worker means nothing there."""
    claimed = []
    monkeypatch.setattr(worker_device, "claim_device", lambda gpu: claimed.append(gpu) or torch.device("cpu"))
    assert worker_device._check_device(gpu) is None
    assert claimed == [gpu]


def test_of_a_worker_s_traceback_its_last_line_is_told():
    lost = LostDeviceError("wrapped")
    text = "Traceback (most recent call last):\n  File ...\na GPU was promised to node 10.0.0.5"
    lost.cause = RuntimeError(text)  # type: ignore[attr-defined] # as Ray's own errors have it
    assert str(find_lost_device(lost)) == "a GPU was promised to node 10.0.0.5"
    assert str(find_lost_device(ControllerError(lost))) == "a GPU was promised to node 10.0.0.5"
