"""Which GPUs a process of Ray's was given, and that it sees no others."""

import os
import subprocess
import sys

import pytest

from m3ray.pipelines.runtime import assigned_gpus
from m3ray.pipelines.runtime.assigned_gpus import hide_gpus, hide_gpus_of_driver


def test_a_task_that_was_given_one_keeps_it(on_ray, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    on_ray("1")
    hide_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


def test_without_ray_nothing_is_hidden(monkeypatch):
    monkeypatch.setattr(assigned_gpus.ray, "is_initialized", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    hide_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


@pytest.mark.parametrize("before", ["0,1", None])
def test_a_driver_sees_none_for_the_length_of_the_block(on_ray, monkeypatch, before):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before or "")
    if before is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    on_ray()
    with hide_gpus_of_driver():
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == before


def test_without_a_ray_no_gpu_is_assigned_and_none_is_started(monkeypatch):
    """Ray's runtime context starts a Ray, or waits for one that is gone."""
    monkeypatch.setattr(assigned_gpus.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(assigned_gpus.ray, "get_runtime_context", lambda: pytest.fail("a Ray was started"))
    assert assigned_gpus.assigned_gpus() == []


@pytest.mark.parametrize(
    "line",
    [
        "from m3ray.pipelines.extraction.crash_guard import Ledger",
        "from m3ray.pipelines.extraction.decode_stage import DecodeStage",
        "from m3ray.pipelines.extraction.write_stage import WriteStage",
    ],
    ids=["ledger", "decoder", "writer"],
)
def test_processes_that_compute_nothing_import_neither_pytorch_nor_pandas(line):
    """A ledger lives as long as the job, decoders are many, and PyTorch costs seconds and hundreds of megabytes.

    Decoders and writers get pandas from Ray Data, once they run; the ledger runs without both.
    """
    program = f"import sys\n{line}\nprint([name for name in ('torch', 'pandas') if name in sys.modules])\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
