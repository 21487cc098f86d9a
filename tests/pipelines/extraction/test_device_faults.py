"""What exceptions say of the device. CUDA's texts are those of cudaGetErrorString, asked of the library itself."""

import ctypes
import importlib.util
from pathlib import Path

import pytest
import torch

from m3ray.errors import FeatureError, LostDeviceError
from m3ray.pipelines.extraction.device_faults import DeviceFaultError, classify_error, raise_device_fault

# The text below CUDA's own, of c10/cuda/CUDAException.cpp.
HINTS = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be "
    "incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\nCompile with `TORCH_USE_CUDA_DSA` to enable "
    "device-side assertions.\n"
)
# Errors after which CUDA's documentation says that "the process must be terminated and relaunched", those of a device
# that cannot be used, and those of a broken one.
STICKY = {
    46: "CUDA-capable device(s) is/are busy or unavailable",
    100: "no CUDA-capable device is detected",
    214: "uncorrectable ECC error encountered",
    220: "uncorrectable NVLink error detected during the execution",
    226: "Invalid access of peer GPU memory over nvlink or a hardware error",
    700: "an illegal memory access was encountered",
    702: "the launch timed out and was terminated",
    710: "device-side assert triggered",
    714: "hardware stack error",
    715: "an illegal instruction was encountered",
    716: "misaligned address",
    717: "operation not supported on global/shared address space",
    718: "invalid program counter",
    719: "unspecified launch failure",
    999: "unknown error",
}
REFUSED = {
    1: "invalid argument",
    9: "invalid configuration argument",
    701: "too many resources requested for launch",
    801: "operation not supported",
}


@pytest.mark.parametrize("text", STICKY.values())
def test_errors_that_stick_are_the_device_s(text):
    assert classify_error(torch.AcceleratorError(f"CUDA error: {text}{HINTS}")) == "device"
    assert classify_error(RuntimeError(f"CUDA error: {text}{HINTS}")) == "device", "as PyTorch before 2.8 raised them"


@pytest.mark.parametrize(
    "text",
    [
        "CUDA driver error: unknown error",
        "CUDA error: GPU is lost",
        "CUDA error: GPU has fallen off the bus",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa, opb, m, n, k)`",
        "CUDA error: CUBLAS_STATUS_INTERNAL_ERROR when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "cuFFT error: CUFFT_EXEC_FAILED",
        "cuFFT error: CUFFT_INTERNAL_ERROR",
        "Triton Error [CUDA]: an illegal memory access was encountered",
        "No CUDA GPUs are available",
        "CUDA unknown error - this may be due to an incorrectly set up environment",
    ],
)
def test_what_libraries_and_the_driver_say_is_the_device_s(text):
    assert classify_error(RuntimeError(text)) == "device"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        torch.AcceleratorError(f"CUDA error: out of memory{HINTS}"),
        RuntimeError("CUDA driver error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:116] . DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError("Unable to allocate 9.00 GiB"),
    ],
)
def test_too_little_memory(error):
    assert classify_error(error) == "memory"


@pytest.mark.parametrize("text", REFUSED.values())
def test_refused_calls_are_the_clip_s(text):
    assert classify_error(torch.AcceleratorError(f"CUDA error: {text}{HINTS}")) == "clip"


@pytest.mark.parametrize(
    "error",
    [
        FeatureError("tier scene: CUDA error: an illegal memory access was encountered"),
        ValueError("CUDA error: device-side assert triggered"),
        KeyError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
        RuntimeError("Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a "
                     "non-contiguous input."),
        RuntimeError("CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasSgemm`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM"),
        RuntimeError("Kernel size can't be greater than actual input size"),
        RuntimeError("the clip is called `out of memory.mp4`"),
    ],
)  # fmt: skip
def test_anything_else_is_the_clip_s(error):
    assert classify_error(error) == "clip"


def test_cuda_says_what_these_tests_say():
    """The texts above are those of the CUDA that this PyTorch brings, where it brings one."""
    spec = importlib.util.find_spec("nvidia")
    found = [
        lib
        for place in (spec.submodule_search_locations if spec else ())
        for lib in Path(place).glob("*/lib/libcudart.so*")
    ]
    if not found:
        pytest.skip("this PyTorch has no CUDA")
    library = ctypes.CDLL(str(found[0]))
    library.cudaGetErrorString.restype = ctypes.c_char_p
    for code, text in {**STICKY, **REFUSED, 2: "out of memory"}.items():
        assert library.cudaGetErrorString(code).decode() == text


def test_a_fault_is_one_line():
    with pytest.raises(DeviceFaultError) as caught:
        raise_device_fault(torch.AcceleratorError(f"CUDA error: misaligned address{HINTS}"))
    assert str(caught.value) == "CUDA error: misaligned address"
    assert classify_error(caught.value) == "device"
    assert classify_error(LostDeviceError("a GPU was promised")) == "device"
    raise_device_fault(ValueError("too dark"))


OutOfResources = type("OutOfResources", (Exception,), {})  # as Triton's own, which is no RuntimeError

# Words of each library where it raises: c10/cuda/CUDAException.cpp, aten/src/ATen/cuda/Exceptions.h, cuDNN's frontend,
# triton/runtime/errors.py.
RAISED = {
    "AcceleratorError in words that are not known": (torch.AcceleratorError("something new happened"), "device"),
    "AcceleratorError, no memory": (torch.AcceleratorError(f"CUDA error: out of memory{HINTS}"), "memory"),
    "AcceleratorError, refused": (torch.AcceleratorError(f"CUDA error: invalid argument{HINTS}"), "clip"),
    "cuSOLVER fails": (
        RuntimeError("cusolver error: CUSOLVER_STATUS_EXECUTION_FAILED, when calling `cusolverDnSgetrf(handle)`"),
        "device",
    ),
    "cuSOLVER in numbers": (RuntimeError("cusolver error: 7, when calling `cusolverDnCreate(handle)`"), "device"),
    "cuSOLVER, no memory": (
        RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`"),
        "memory",
    ),
    "cuSOLVER, refused": (
        RuntimeError("cusolver error: CUSOLVER_STATUS_INVALID_VALUE, when calling `cusolverDnSgetrf(handle)`"),
        "clip",
    ),
    "cuDNN's frontend fails": (
        RuntimeError("cuDNN Frontend error: [cudnn_frontend] Error: CUDNN_STATUS_EXECUTION_FAILED"),
        "device",
    ),
    "cuDNN's frontend, refused": (
        RuntimeError("cuDNN Frontend error: [cudnn_frontend] Error: CUDNN_STATUS_NOT_SUPPORTED"),
        "clip",
    ),
    "Triton, no resources": (
        OutOfResources("out of resource: shared memory, Required: 131072, Hardware limit: 101376."),
        "clip",
    ),
    "Triton, no memory": (RuntimeError("Triton Error [CUDA]: out of memory"), "memory"),
    "a handle": (torch.AcceleratorError(f"CUDA error: invalid resource handle{HINTS}"), "clip"),
    "cooperative launch": (torch.AcceleratorError(f"CUDA error: too many blocks in cooperative launch{HINTS}"), "clip"),
    "another architecture": (RuntimeError("cuDNN error: CUDNN_STATUS_ARCH_MISMATCH"), "device"),
    "no code for the GPU": (torch.AcceleratorError(f"CUDA error: invalid device function{HINTS}"), "device"),
    "no plan": (
        RuntimeError("cuDNN Frontend error: [cudnn_frontend] Error: No execution plans support the graph."),
        "clip",
    ),
}


@pytest.mark.parametrize("case", RAISED)
def test_what_each_library_raises(case):
    error, kind = RAISED[case]
    assert classify_error(error) == kind
