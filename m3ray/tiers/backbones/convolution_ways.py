"""Ways to compute a convolution with its bias, shortcut and ReLU on a GPU, and the choice among them by timing.

Which is the fastest depends on the card, the shape and the library: no table of ours would stay right.
`benchmarks/gpu.py --only 3` measures the ways of depthwise 3-D convolutions apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional

_KERNEL = (3, 3, 3)  # of the depthwise convolutions that have ways of their own
# Difference from the plain way, relative to its largest value, beyond which a way is wrong rather than rounded: the
# last bit of TensorFloat-32 (2^-10), which a way may take where the plain one does; a few times bfloat16's (2^-8).
_MAX_DIFFERENCE = {torch.float32: 1e-3, torch.bfloat16: 2e-2}
# A way is taken only where it is clearly faster: two nodes should not choose differently for nothing.
_MAX_SHARE_OF_PLAIN = 0.95
_REPEATS = 3


@dataclass(frozen=True)
class ConvolutionSettings:
    """Settings of a convolution as PyTorch's functions take them, a number a dimension of space and time.

    Args:
        stride: step.
        padding: zeros before and after.
        dilation: distance between taps.
        groups: groups of channels.
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def arguments(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]:
        """All of them, in the order of PyTorch's functions."""
        return self.stride, self.padding, self.dilation, self.groups

    def is_depthwise(self, weight: Tensor) -> bool:
        """Whether it is one of the 3x3x3 convolutions of single channels that a CSN has.

        Args:
            weight: weights of the convolution.
        """
        return (
            weight.shape[1:] == (1, *_KERNEL)
            and self.groups == len(weight)
            and self.padding == self.dilation == (1, 1, 1)
            and len(set(self.stride)) == 1
        )


@dataclass(frozen=True)
class Work:
    """What a way computes: convolution, plus bias, plus shortcut, then ReLU.

    Args:
        x: input, (B, C, [T,] H, W), channels last in memory.
        weight: weights, (C', C / groups, [kt,] kh, kw), channels last in memory.
        bias: bias, (C',), or None.
        settings: settings of the convolution.
        shortcut: what is added, of the shape of the output; None for nothing. No way changes it.
        has_relu: whether a ReLU follows.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    settings: ConvolutionSettings
    shortcut: Tensor | None = None
    has_relu: bool = False


Way = Callable[[Work], Tensor]
# Milliseconds that a call takes.
Measure = Callable[[Callable[[], Tensor]], float]


def list_ways(work: Work) -> dict[str, Way]:
    """List the ways that there may be for a convolution, PyTorch's own after `compute_plainly` left out.

    Args:
        work: the convolution.
    Returns:
        Name to way; some may fail on a given machine.
    """
    ways: dict[str, Way] = {}
    if work.has_relu and work.bias is not None:
        ways["cuDNN, fused"] = compute_with_cudnn
    if work.settings.is_depthwise(work.weight):
        ways |= {"native": compute_without_cudnn, "three 2-D": compute_by_planes}
        if find_spec("triton") is not None:
            ways["Triton, fused"] = compute_with_triton
    return ways


def compute_plainly(work: Work) -> Tensor:
    """Compute a convolution as PyTorch chooses, and what follows it in passes of their own.

    Args:
        work: the convolution.
    Returns:
        (B, C', [T',] H', W').
    """
    convolve = functional.conv3d if work.x.ndim == 5 else functional.conv2d
    return _finish(work, convolve(work.x, work.weight, work.bias, *work.settings.arguments))


def _finish(work: Work, out: Tensor) -> Tensor:
    """Add the shortcut and apply the ReLU, in place: one more tensor of the widest layer costs more than either."""
    out = out if work.shortcut is None else out.add_(work.shortcut)
    return out.relu_() if work.has_relu else out


def compute_with_cudnn(work: Work) -> Tensor:
    """Compute a convolution by cuDNN, with bias, shortcut and ReLU in its own epilogue.

    Args:
        work: the convolution, with bias and ReLU.
    Returns:
        (B, C', [T',] H', W').
    """
    how = (work.bias, *work.settings.arguments)
    if work.shortcut is None:
        return torch.ops.aten.cudnn_convolution_relu(work.x, work.weight, *how)
    return torch.ops.aten.cudnn_convolution_add_relu(work.x, work.weight, work.shortcut, 1.0, *how)


def compute_without_cudnn(work: Work) -> Tensor:
    """Compute a convolution by PyTorch's own kernel, which takes channels second in memory.

    Args:
        work: the convolution.
    Returns:
        (B, C', [T',] H', W'), channels last in memory.
    """
    x, weight = work.x.contiguous(), work.weight.contiguous()
    with cudnn_off():
        out = functional.conv3d(x, weight, work.bias, *work.settings.arguments)
    return _finish(work, out.contiguous(memory_format=torch.channels_last_3d))


@contextmanager
def cudnn_off() -> Iterator[None]:
    """PyTorch's own kernels alone."""
    # Not `cudnn.flags`, which refuses to work beside the settings of TensorFloat-32.
    before = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before


def compute_by_planes(work: Work) -> Tensor:
    """Compute a depthwise 3x3x3 convolution as the sum of three 2-D ones.

    Args:
        work: the convolution, of those that `ConvolutionSettings.is_depthwise` names.
    Returns:
        (B, C, T', H', W'), channels last in memory.
    """
    x, (stride, *_) = work.x, work.settings.stride
    batch, channels, frames = x.shape[:3]
    padded = functional.pad(x.movedim(1, -1), (0, 0, 0, 0, 0, 0, 1, 1))  # a frame of zeros before and after
    total: Tensor | None = None
    for tap in range(_KERNEL[0]):
        planes = padded[:, tap : tap + frames : stride].flatten(0, 1).movedim(-1, 1)
        bias = work.bias if tap == 0 else None
        part = functional.conv2d(planes, work.weight[:, :, tap], bias, stride, padding=1, groups=channels)
        total = part if total is None else total.add_(part)
    assert total is not None
    return _finish(work, total.movedim(1, -1).unflatten(0, (batch, -1)).movedim(-1, 1))


def compute_with_triton(work: Work) -> Tensor:
    """Compute a depthwise 3x3x3 convolution, with what follows it, in one kernel of Triton's.

    Args:
        work: the convolution, of those that `ConvolutionSettings.is_depthwise` names.
    Returns:
        (B, C, T', H', W'), channels last in memory.
    """
    from m3ray.tiers.backbones.depthwise_triton import convolve  # Triton is there on Linux with CUDA alone

    return convolve(
        work.x, work.weight, work.settings.stride[0], work.bias, shortcut=work.shortcut, has_relu=work.has_relu
    )


def measure_on_gpu(call: Callable[[], Tensor]) -> float:
    """Measure a call on the current GPU, after one that compiles and allocates what it needs.

    Args:
        call: function that only launches work.
    Returns:
        Milliseconds, the shortest of three.
    """
    call()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(_REPEATS + 1)]
    events[0].record()
    for event in events[1:]:
        call()
        event.record()
    events[-1].synchronize()
    return min(start.elapsed_time(end) for start, end in itertools.pairwise(events))


class WayChooser:
    """Chooses a way for each kind of convolution by timing all on the first input of that kind.

    Args:
        measure: function that times a call; another than the GPU's is for tests.
    """

    def __init__(self, measure: Measure = measure_on_gpu) -> None:
        self._measure = measure
        self._chosen: dict[tuple[object, ...], Way] = {}
        self.milliseconds: dict[tuple[object, ...], dict[str, float]] = {}

    def compute(self, work: Work) -> Tensor:
        """Compute a convolution in the way chosen for its kind: channels, size of a frame, kernel and what follows.

        Numbers of clips and frames don't tell kinds apart: what is fastest for the first batch is taken for all.

        Args:
            work: the convolution.
        Returns:
            (B, C', [T',] H', W').
        """
        kind = _kind_of(work)
        way = self._chosen.get(kind)
        if way is not None:
            return way(work)
        if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
            return compute_plainly(work)  # nothing can be timed while a graph is made
        return self._choose(kind, work)

    def _choose(self, kind: tuple[object, ...], work: Work) -> Tensor:
        expected = compute_plainly(work)
        taken = {"plain": self._measure(lambda: compute_plainly(work))}
        ways = list_ways(work)
        for name, way in ways.items():
            milliseconds = self._try(way, work, expected)
            if milliseconds is not None:
                taken[name] = milliseconds
        best = min(taken, key=lambda name: taken[name])
        is_faster = taken[best] < _MAX_SHARE_OF_PLAIN * taken["plain"]
        self._chosen[kind] = ways[best] if is_faster else compute_plainly
        self.milliseconds[kind] = taken
        return expected

    def _try(self, way: Way, work: Work, expected: Tensor) -> float | None:
        """Milliseconds of a way; None where it fails, or its numbers are others than rounding explains."""
        try:
            if not _difference(way(work), expected) <= _MAX_DIFFERENCE[work.x.dtype]:  # nor NaN
                return None
            return self._measure(lambda: way(work))
        except Exception:  # Whatever this machine's libraries lack, the plain way is there.
            return None


def _kind_of(work: Work) -> tuple[object, ...]:
    plane, follows = tuple(work.x.shape[-2:]), (work.shortcut is not None, work.has_relu)
    return (work.x.dtype, plane, tuple(work.weight.shape), work.settings, *follows)


def _difference(found: Tensor, expected: Tensor) -> float:
    largest = expected.abs().max().float().clamp_min(1e-30)
    return float((found - expected).abs().max().float() / largest)
