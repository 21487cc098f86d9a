"""A task's device: the one that Ray promised, or an error in words; never another."""

import os

import pytest
import torch

from m3ray.errors import LostDeviceError
from m3ray.pipelines.runtime import devices
from m3ray.pipelines.runtime.devices import (
    find_gpu_problem,
    list_cures,
    take_assigned_device,
    take_device,
)

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="here CUDA works")


def test_a_task_without_a_promise_sees_no_gpu(on_ray, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    on_ray()
    assert take_device(gpu=False) == torch.device("cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@NO_CUDA
def test_a_promise_that_cannot_be_kept_is_an_error_and_no_cpu(on_ray):
    on_ray("0")
    with pytest.raises(
        LostDeviceError, match=r"promised to node 10\.0\.0\.7, and PyTorch .* cannot compute on it"
    ) as e:
        take_device(gpu=True)
    assert e.value.exit_status == 1, "found while the job runs, so something may have been written"
    assert "\n" not in str(e.value)


def test_a_working_gpu_is_taken(on_ray, monkeypatch):
    on_ray("0")
    monkeypatch.setattr(devices, "_try_cuda", lambda: "")
    assert take_device(gpu=True) == torch.device("cuda")


@NO_CUDA
def test_what_ray_gave_is_what_is_taken(on_ray):
    on_ray()
    assert take_assigned_device() == torch.device("cpu")
    on_ray("0")
    with pytest.raises(LostDeviceError):
        take_assigned_device()


@NO_CUDA
def test_the_problem_names_what_pytorch_says_and_the_way_out():
    problem = find_gpu_problem()
    assert f"PyTorch {torch.__version__} cannot compute on it (" in problem
    assert problem.endswith("or compute on CPUs with --compute.device cpu")


CPU_WHEEL, CONTAINER, DRIVER = "its wheel is a CPU one", "NVIDIA_VISIBLE_DEVICES=all", "the driver is older"


# The texts are PyTorch's own: torch/cuda/__init__.py, c10/cuda/CUDAFunctions.cpp.
@pytest.mark.parametrize(
    ("cuda", "devices_there", "answer", "order"),
    [
        (None, True, "Torch not compiled with CUDA enabled", [CPU_WHEEL, CONTAINER, DRIVER]),
        ("13.0", False, "Found no NVIDIA driver on your system", [CONTAINER, CPU_WHEEL, DRIVER]),
        (
            "13.0",
            True,
            "The NVIDIA driver on your system is too old (found version 12020)",
            [DRIVER, CPU_WHEEL, CONTAINER],
        ),
        ("13.0", True, "CUDA error: no kernel image is available", ["no code for so old or so new", CPU_WHEEL]),
    ],
)
def test_the_cause_that_the_machine_shows_comes_first(monkeypatch, tmp_path, cuda, devices_there, answer, order):
    file = tmp_path / "nvidiactl"
    if devices_there:
        file.touch()
    monkeypatch.setattr(devices, "_CONTROL_FILE", file)
    monkeypatch.setattr(devices.torch.version, "cuda", cuda)
    cures = list_cures(answer)
    places = [cures.index(part) for part in order]
    assert places == sorted(places), cures
    assert "\n" not in cures


def test_a_gpu_that_computes_wrong_numbers_is_a_problem(monkeypatch):
    monkeypatch.setattr(devices.torch.cuda, "init", lambda: None)
    monkeypatch.setattr(devices.torch, "ones", lambda *_, device: torch.full((8, 8), 2.0))
    assert "add up to 2048.0, not 512" in find_gpu_problem(), "8 x 8 sums of 8 products 2 x 2"
