"""Ray Train around a training: the preset, how it is interrupted, and what it fails with."""

import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ray.train import ControllerError

from m3ray.config.finetuning import FinetuneOverrides
from m3ray.config.options import FinetuneOptions
from m3ray.errors import LostDeviceError, M3RayError
from m3ray.pipelines.finetuning import train
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.device_probe import DeviceFacts
from m3ray.pipelines.runtime.devices import CUDA_PROBLEM
from m3ray.storage.root import Root

TESTS = Path(__file__).parents[2]


@pytest.mark.parametrize(("code", "raised"), [(0, KeyboardInterrupt), (None, KeyboardInterrupt), (143, SystemExit)])
def test_an_interrupted_training_is_no_success(code, raised):
    """Ray Train leaves with status 0 after Ctrl-C; SIGTERM's own status stays."""
    with pytest.raises(raised), train._keep_interrupts():
        raise SystemExit(code)


@pytest.mark.parametrize("fails", [False, True])
def test_ctrl_c_is_the_job_s_again_after_a_training(monkeypatch, tmp_path, fails):
    """Ray Train's handler stays otherwise, and only says that it aborts a training that has ended."""

    def trainer(*_args, **_options):
        def fit():
            signal.signal(signal.SIGINT, lambda *_: None)
            if fails:
                raise RuntimeError("lost")

        return SimpleNamespace(fit=fit)

    monkeypatch.setattr(train, "TorchTrainer", trainer)
    monkeypatch.setattr(train, "_read_outcome", lambda *_: "outcome")
    monkeypatch.setattr(train.ray, "put", lambda value: value)
    work = SimpleNamespace(layout=SimpleNamespace(workers=1), config=SimpleNamespace(keep=1))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(M3RayError, match="lost") if fails else nullcontext():
        assert train.train_run(Root(str(tmp_path)), "run", work, {}, Resources(1, 0)) == "outcome"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_worker_s_lost_gpu_is_the_job_s_error(monkeypatch, tmp_path):
    def trainer(*_args, **_options):
        def fit():
            raise ControllerError(LostDeviceError("a GPU was promised to node 10.0.0.1"))

        return SimpleNamespace(fit=fit)

    monkeypatch.setattr(train, "TorchTrainer", trainer)
    monkeypatch.setattr(train.ray, "put", lambda value: value)
    work = SimpleNamespace(layout=SimpleNamespace(workers=1), config=SimpleNamespace(keep=1))
    with pytest.raises(LostDeviceError, match=r"unfrozen: a GPU was promised to node 10\.0\.0\.1"):
        train.train_run(Root(str(tmp_path)), "run", work, {}, Resources(1, 1))


@pytest.mark.integration
@pytest.mark.skipif(torch.cuda.is_available(), reason="here a GPU in name would be one in fact")
def test_a_gpu_in_name_alone_ends_a_training_at_once(tmp_path):
    """Ray gives the worker a GPU, PyTorch finds no CUDA: until now it failed in NCCL's words alone."""
    script = TESTS / "training_in_name.py"  # in a process of its own: this one may have a Ray already
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent), "RAY_AUTH_MODE": "disabled"}
    environment.pop("CUDA_VISIBLE_DEVICES", None)  # a driver that ran here before may have hidden all
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=720,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if line.startswith("LostDeviceError: ")]
    assert len(errors) == 1, done.stdout[-2000:] + done.stderr[-2000:]
    assert "unfrozen: a GPU was promised to node " in errors[0]
    assert CUDA_PROBLEM in errors[0]


def choose(name, gpus, gib=0, **overrides):
    facts = DeviceFacts(True, gib << 30, description="a card") if gib else None
    options = FinetuneOptions(unfrozen=name, finetune=FinetuneOverrides(**overrides))
    return train.choose_preset(options, Resources(96, gpus, facts=facts))


@pytest.mark.parametrize(
    ("gpus", "gib", "expected"),
    [(0, 0, 8), (1, 79, 16), (12, 79, 16), (1, 22, 4), (12, 22, 4), (1, 0, 16), (2, 0, 4)],
)
def test_auto_takes_the_preset_that_the_smallest_gpu_holds(gpus, gib, expected):
    preset = choose("auto", gpus, gib)
    assert (preset.micro_batch, preset.workers) == (expected, None), "one worker a GPU"


@pytest.mark.parametrize(("gpus", "workers"), [(1, 1), (3, 3), (7, 7), (8, 8), (12, 8), (64, 8), (0, 8)])
def test_eight_gpus_are_what_the_preset_takes_at_most(gpus, workers):
    assert choose("gpu24x8", gpus).workers == workers


def test_workers_that_are_asked_for_stay():
    assert choose("gpu24x8", 3, workers=5).workers == choose("auto", 3, workers=5).workers == 5
