"""The device of a finetuning's worker: the GPU that Ray promised it, checked before the workers connect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from ray.train.torch import TorchConfig, get_device

from m3ray.errors import LostDeviceError
from m3ray.pipelines.runtime.devices import take_device

# Tensors of a GPU go through NCCL; the few objects that workers exchange go through the host, beside what GPUs compute.
_GPU_BACKENDS, _CPU_BACKEND = "cpu:gloo,cuda:nccl", "gloo"


def claim_device(*, gpu: bool) -> torch.device:
    """Take this worker's device, and no other.

    Ray Train shows a worker the GPUs of all workers on its node, so that they exchange gradients directly; the index
    says which one is its own.

    Args:
        gpu: Whether Ray promised the worker a GPU.
    Returns:
        The worker's own GPU, or the CPU.
    Raises:
        LostDeviceError: If a GPU was promised and cannot be computed on.
    """
    if not gpu:
        return take_device(gpu=False)
    if torch.cuda.is_available():
        torch.cuda.set_device(get_device())  # else the check would open a context on another worker's GPU
    take_device(gpu=True)
    return get_device()


@dataclass
class WorkerDeviceConfig(TorchConfig):
    """Ray Train's connection of PyTorch workers, which are asked for their devices first.

    Without this, a worker without a GPU would fail in NCCL's words, which name neither the node nor a cure.

    Args:
        gpu: Whether each worker was promised a GPU.
    """

    gpu: bool = False

    def __post_init__(self) -> None:
        self.backend = _GPU_BACKENDS if self.gpu else _CPU_BACKEND

    @property
    def backend_cls(self) -> type:
        """What Ray Train makes of this config."""
        return _CheckedBackend


class _CheckedBackend(TorchConfig().backend_cls):  # type: ignore[misc]
    """Ray Train's own, but for the check."""

    def on_start(self, worker_group: Any, backend_config: WorkerDeviceConfig) -> None:
        worker_group.execute(_check_device, backend_config.gpu)
        super().on_start(worker_group, backend_config)


def _check_device(gpu: bool) -> None:
    claim_device(gpu=gpu)


def find_lost_device(error: BaseException) -> LostDeviceError | None:
    """Find out whether a training failed because a promised GPU cannot be computed on.

    Args:
        error: What Ray Train raised.
    Returns:
        The worker's own error; None where it failed otherwise.
    """
    inner = [getattr(error, name, None) for name in ("cause", "controller_failure", "_base_exc", "__cause__")]
    candidates = [*inner, *(getattr(error, "worker_failures", None) or {}).values()]
    if isinstance(error, LostDeviceError):
        return LostDeviceError(str(candidates[0] or error).splitlines()[-1]) if candidates[0] else error
    found = (find_lost_device(candidate) for candidate in candidates if isinstance(candidate, BaseException))
    return next((lost for lost in found if lost), None)
