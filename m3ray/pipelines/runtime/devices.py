"""The device of a task: a GPU where Ray promised one, never another; none visible where it promised none."""

from __future__ import annotations

from pathlib import Path

import torch

from m3ray.errors import LostDeviceError
from m3ray.pipelines.runtime.assigned_gpus import assigned_gpus, describe_place, hide_gpus

CUDA_PROBLEM = f"PyTorch {torch.__version__} cannot compute on it"
_CONTROL_FILE = Path("/dev/nvidiactl")  # there wherever NVIDIA's driver, or its container runtime, made devices


def take_device(*, gpu: bool) -> torch.device:
    """Take the device of this task, and no other.

    Ray 2.60 lets a task that asked for no GPU see all of them; each that touches CUDA would then open a context of
    hundreds of MB on a device that is another's.

    Args:
        gpu: whether the task asked Ray for a GPU, or a part of one.
    Returns:
        `cuda`, which Ray has narrowed down to the task's own, or `cpu`.
    Raises:
        LostDeviceError: If a GPU was promised and PyTorch cannot compute on it; nothing falls back to the CPU.
    """
    if not gpu:
        hide_gpus()
        return torch.device("cpu")
    problem = find_gpu_problem()
    if problem:
        raise LostDeviceError(f"a GPU was promised to {describe_place()}, {problem}")
    return torch.device("cuda")


def take_assigned_device() -> torch.device:
    """Take the device that Ray gave this task: a GPU if it gave one, or a part of one, else the CPU.

    Returns:
        The device.
    Raises:
        LostDeviceError: If it gave a GPU and PyTorch cannot compute on it.
    """
    return take_device(gpu=bool(assigned_gpus()))


def find_gpu_problem() -> str:
    """Find out why PyTorch cannot compute on this task's GPU: what it says, and likely causes with their cures.

    Returns:
        Part of a sentence, one line; empty if it can.
    """
    answer = _try_cuda()
    return f"and {CUDA_PROBLEM} ({answer}): {list_cures(answer)}" if answer else ""


def _try_cuda() -> str:
    """What CUDA says when a small product is computed on the device; empty where it is right."""
    try:
        torch.cuda.init()
        ones = torch.ones(8, 8, device="cuda")
        total = float((ones @ ones).sum())
    except (RuntimeError, AssertionError) as error:  # a PyTorch without CUDA asserts
        return " ".join(str(error).split())[:200].rstrip(". ")
    return "" if total == 512 else f"ones of 8 x 8 times themselves add up to {total}, not 512"


def list_cures(answer: str) -> str:
    """List the likely causes of a GPU that cannot be used, those that this machine shows first.

    Args:
        answer: what PyTorch said.
    Returns:
        Causes with their cures, one line.
    """
    cpu_build, no_devices = torch.version.cuda is None, not _CONTROL_FILE.exists()
    old_driver = "driver" in answer and ("old" in answer or "insufficient" in answer)
    no_kernel = "no kernel image" in answer
    causes = [
        (
            cpu_build,
            "its wheel is a CPU one: install a CUDA build, the one from PyPI (pip install --force-reinstall torch)",
        ),
        (
            no_devices and not cpu_build,
            "no NVIDIA device is visible there: start its container with NVIDIA's runtime and -e "
            "NVIDIA_VISIBLE_DEVICES=all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility,video, as cluster.yaml does, or "
            "install the driver, or start Ray without --num-gpus",
        ),
        (
            old_driver,
            f"the driver is older than CUDA {torch.version.cuda} needs: update it, or install a torch of an older CUDA",
        ),
        (no_kernel, "this PyTorch has no code for so old or so new a GPU: take another GPU or another torch"),
    ]
    ordered = [text for shown, text in causes if shown] + [text for shown, text in causes[:3] if not shown]
    return "; or ".join(ordered) + "; or compute on CPUs with --compute.device cpu"
