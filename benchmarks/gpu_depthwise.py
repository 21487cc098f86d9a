"""Part 3 of benchmarks/gpu.py: CSN's depthwise 3x3x3 convolutions four ways, forward and weights' gradient."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from gpu_card import KIND, find_peaks
from gpu_part import DEVICE, SMALL, PartRun, free_memory, measure_seconds, note_failure
from torch import Tensor
from torch.nn import functional

from m3ray.tiers.backbones.convolution_ways import ConvolutionSettings, Work, compute_by_planes, cudnn_off
from m3ray.tiers.precision import float32_precision

FORWARD, GRADIENT = "Depthwise convolution, forward", "Depthwise convolution, gradient of the weights"
BATCH, FRAMES, SIZE = (1, 8, 64) if SMALL else (8, 45, 256)


@dataclass(frozen=True)
class Layer:
    """A depthwise convolution of CSN-152.

    Args:
        layers: how many of CSN-152's layers are such.
        shape: shape of its input, (B, C, T, H, W).
        stride: step in time and space.
    """

    layers: int
    shape: tuple[int, int, int, int, int]
    stride: int


def list_layers() -> list[Layer]:
    """The shapes of CSN-152's depthwise convolutions: 3, 8, 36 and 3 blocks, the first of a layer halving its input."""
    layers, frames, plane = [], FRAMES, SIZE // 4
    for index, blocks in enumerate((3, 8, 36, 3)):
        channels = 64 << index
        if index:
            layers.append(Layer(1, (BATCH, channels, frames, plane, plane), 2))
            frames, plane = (frames + 1) // 2, plane // 2
        layers.append(Layer(blocks - bool(index), (BATCH, channels, frames, plane, plane), 1))
    return layers


@dataclass(frozen=True)
class Way:
    """A way to compute a depthwise convolution.

    Args:
        forward: from input and weights to the output.
        gradient: from input, weights and the output's gradient to that of the weights; None: autograd's of `forward`.
        last: whether channels are last in memory.
        context: what it runs in.
    """

    forward: Callable[[Tensor, Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    last: bool = True
    context: Callable[[], AbstractContextManager[Any]] = nullcontext


def list_ways(stride: int) -> dict[str, Way]:
    """The ways that there are for a stride on this device; Triton's needs a GPU."""
    ways = {
        "PyTorch's choice, channels last": Way(partial(convolve, stride=stride)),
        "native, contiguous": Way(partial(convolve, stride=stride), last=False, context=cudnn_off),
        "three 2-D": Way(partial(convolve_planes, stride=stride)),
    }
    if DEVICE.type == "cuda":
        ways["cuDNN, channels last"] = Way(partial(convolve_cudnn, stride=stride))
    if DEVICE.type == "cuda" and find_spec("triton"):
        import gpu_triton

        forward, gradient = gpu_triton.convolve, gpu_triton.weight_gradient
        ways["Triton"] = Way(
            lambda x, w: forward(x, w, stride), lambda x, w, slope: gradient(x, slope, stride).to(w.dtype)
        )
    return ways


def convolve(x: Tensor, w: Tensor, stride: int) -> Tensor:
    """PyTorch's 3-D convolution."""
    return functional.conv3d(x, w, stride=stride, padding=1, groups=x.shape[1])


def convolve_cudnn(x: Tensor, w: Tensor, stride: int) -> Tensor:
    """CuDNN's 3-D convolution, whatever PyTorch would choose; the gradient of its weights is still PyTorch's choice."""
    ones = [1] * 3
    return torch.ops.aten.cudnn_convolution(x, w, ones, [stride] * 3, ones, x.shape[1], True, False, False)


def convolve_planes(x: Tensor, w: Tensor, stride: int) -> Tensor:
    """A depthwise 3-D convolution as the sum of three 2-D ones, x (B, C, T, H, W), channels last."""
    ones = (1, 1, 1)
    return compute_by_planes(Work(x, w, None, ConvolutionSettings((stride,) * 3, ones, ones, x.shape[1])))


def measure(run: PartRun) -> None:
    """Measure the part."""
    _, bandwidth = find_peaks(run)
    for layer in list_layers():
        if run.has_time(2, f"{layer}"):
            measure_layer(run, layer, bandwidth)
            free_memory()
    run.note(
        "the traffic floor reads input and output's gradient, or writes the output, once each at the rate of a copy; "
        "the GPU's cache is filled with something else before each call"
    )
    if SMALL:
        run.note("Triton and cuDNN: skipped: no GPU")


def measure_layer(run: PartRun, layer: Layer, bandwidth: float) -> None:
    """Measure all ways of a layer."""
    torch.manual_seed(0)
    # The reference, in float32, sees the same rounded numbers as all ways do.
    x = torch.randn(layer.shape, device=DEVICE, dtype=KIND)
    w = torch.randn(layer.shape[1], 1, 3, 3, 3, device=DEVICE, dtype=KIND)
    with float32_precision():
        expected, slope, expected_gradient = compute_reference(x, w, layer)
    floor = (x.numel() + slope.numel()) * x.element_size() / bandwidth
    for name, way in list_ways(layer.stride).items():
        layout = torch.channels_last_3d if way.last else torch.contiguous_format
        tensors = [tensor.to(memory_format=layout) for tensor in (x, w, slope)]
        start = {"shape": str(layer.shape), "stride": layer.stride, "layers": layer.layers, "way": name}
        with note_failure(run, f"{name}, {layer.shape}"), way.context():
            backend = {"backend": name_backend(name, tensors[0], tensors[1], layer.stride)}
            with torch.inference_mode():
                run.add_row(FORWARD, start | measure_forward(way, tensors, expected, floor) | backend)
            run.add_row(GRADIENT, start | measure_gradient(way, tensors, expected_gradient, floor) | backend)


def compute_reference(x: Tensor, w: Tensor, layer: Layer) -> tuple[Tensor, Tensor, Tensor]:
    """Output, a random gradient of it, and that of the weights, by PyTorch's own kernel in float32."""
    with cudnn_off():
        weights = w.float().requires_grad_(True)
        expected = convolve(x.float(), weights, layer.stride)
        slope = torch.randn(expected.shape, device=DEVICE, dtype=KIND)
        (gradient,) = torch.autograd.grad(expected, weights, slope.float())
    return expected.detach(), slope, gradient


def measure_forward(way: Way, tensors: list[Tensor], expected: Tensor, floor: float) -> dict[str, Any]:
    """Measure the output's milliseconds, and how far it is from the reference."""
    x, w, _ = tensors
    return compare(lambda: way.forward(x, w), expected, floor)


def measure_gradient(way: Way, tensors: list[Tensor], expected: Tensor, floor: float) -> dict[str, Any]:
    """Measure the milliseconds of the weights' gradient alone, the output's being there."""
    x, w, slope = tensors
    own = way.gradient
    if own is not None:
        return compare(lambda: own(x, w, slope), expected, floor)
    weights = w.detach().requires_grad_(True)
    out = way.forward(x, weights)
    return compare(lambda: torch.autograd.grad(out, weights, slope, retain_graph=True)[0], expected, floor)


def compare(work: Callable[[], Tensor], expected: Tensor, floor: float) -> dict[str, Any]:
    """Measure some work, and compare its result with what is expected."""
    found = work().float()
    difference = (found - expected).norm() / expected.norm()
    seconds = measure_seconds(work, 0.1, cold=True)
    return {
        "ms": seconds * 1e3,
        "share of traffic floor": floor / seconds,
        "difference from float32, of norms": float(difference),
    }


def name_backend(way: str, x: Tensor, w: Tensor, stride: int) -> str | None:
    """The backend that PyTorch takes for a 3-D convolution; None for a way that is none, or forces its own."""
    if way.startswith(("cuDNN", "three", "Triton")):
        return None
    select: Any = getattr(torch._C, "_select_conv_backend", None)
    if select is None:
        return "unknown"
    ones, zeros = [1] * 3, [0] * 3
    return str(select(x, w, None, [stride] * 3, ones, ones, False, zeros, x.shape[1])).rpartition(".")[2]
