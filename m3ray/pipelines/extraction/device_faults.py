"""Device faults: what an exception of a tier says about its device, and the exception that ends a process.

CUDA keeps some errors for good: after an illegal access, say, every later call of the process fails in the same words,
and only a new process can compute again. Such a fault says nothing certain of the clips in hand.
"""

from __future__ import annotations

import re
from typing import Literal

from m3ray.errors import LostDeviceError, M3RayError

FaultKind = Literal["clip", "memory", "device"]

# What speaks in PyTorch's exceptions, which are plain RuntimeErrors but for torch.AcceleratorError (CUDA's own).
_SPEAKERS = (
    "CUDA error",
    "CUDA driver error",
    "CUDA unknown error",
    "cuDNN error",
    "cuDNN Frontend error",
    "cuFFT error",
    "cusolver error",
    "Triton Error [CUDA]",
    "No CUDA GPUs are available",
)
# `out of memory`: CUDA, its driver, PyTorch's allocator. The others: libraries, and PyTorch on a CPU.
_MEMORY = re.compile(
    r"CUDA (?:driver )?error: out of memory|CUDA out of memory|Triton Error \[CUDA\]: out of memory"
    r"|\b(?:CUBLAS|CUDNN|CUFFT|CUSOLVER|CUSPARSE)_\w*ALLOC(?:ATION)?_FAILED\b"
    r"|DefaultCPUAllocator: can't allocate memory"
)
# Calls that were refused for their arguments: the process goes on. What a library has no code for on this GPU (another
# architecture) is not of this kind: every clip would fail alike.
_REFUSED = re.compile(
    r"invalid argument|invalid configuration argument|too many resources requested for launch|invalid resource handle"
    r"|operation not supported(?! on global)|operation not permitted|invalid pitch argument"
    r"|device not ready|too many blocks in cooperative launch"
    r"|_NOT_SUPPORTED|_BAD_PARAM|_INVALID_VALUE|_NOT_IMPLEMENTED|CUFFT_INVALID_|CUFFT_UNALIGNED_DATA"
    r"|No execution plans support the graph"
)


class DeviceFaultError(Exception):
    """An error of the device after which this process can compute nothing more on it; its text is one line."""


def classify_error(error: BaseException) -> FaultKind:
    """Tell what an exception that a tier raised is about.

    Whatever CUDA or one of its libraries says is the device's, but for lack of memory and calls that were refused for
    their arguments: taking a clip's error for the device's costs a process, the other way round costs clips.

    Args:
        error: Exception, as it was raised.
    Returns:
        `memory`: there was too little of it, on the device or the machine. `device`: the process can compute nothing
        more there. `clip`: anything else.
    """
    if isinstance(error, LostDeviceError | DeviceFaultError):
        return "device"
    if isinstance(error, MemoryError):
        return "memory"
    import torch  # late: the ledger's process and the decoders' compute nothing, and start without it

    if isinstance(error, torch.OutOfMemoryError):
        return "memory"
    if isinstance(error, M3RayError) or not isinstance(error, RuntimeError):
        return "clip"
    text = str(error)
    if _MEMORY.search(text):
        return "memory"
    speaks_cuda = isinstance(error, torch.AcceleratorError) or any(speaker in text for speaker in _SPEAKERS)
    return "device" if speaks_cuda and not _REFUSED.search(text) else "clip"


def raise_device_fault(error: Exception) -> None:
    """Raise what ends the process, if an exception is about its device.

    Args:
        error: Exception, as it was raised.
    Raises:
        DeviceFaultError: If it is, with the first line of its text.
    """
    if classify_error(error) == "device":
        raise DeviceFaultError(str(error).strip().partition("\n")[0]) from error
