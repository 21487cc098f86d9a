"""What "float32" means on a GPU: IEEE's, unless TensorFloat-32 is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_CUDNN: Any = torch.backends.cudnn  # its types lack what it has
_BACKENDS: tuple[Any, ...] = (_CUDNN.conv, _CUDNN.rnn, torch.backends.cuda.matmul)


@contextmanager
def float32_precision(*, tf32: bool = False) -> Iterator[None]:
    """Compute float32 convolutions and matrix products in one precision for the length of the block.

    cuDNN takes TensorFloat-32, with 10 bits of mantissa instead of 23, for float32 convolutions by default. On CPUs
    nothing changes.

    Args:
        tf32: whether GPUs of compute capability 8.0 and up take TensorFloat-32; else they compute in IEEE's float32.
    Yields:
        Once, to the block; the settings from before it are restored at its end.
    """
    before = [backend.fp32_precision for backend in _BACKENDS]
    for backend in _BACKENDS:
        backend.fp32_precision = "tf32" if tf32 else "ieee"
    try:
        yield
    finally:
        for backend, precision in zip(_BACKENDS, before, strict=True):
            backend.fp32_precision = precision
