"""Memory that a step of a finetuning takes, counted before it is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from m3ray.tiers import event
from m3ray.tiers.finetuned import build_networks

_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)
# Float32 weights, their gradients and Adam's two moments; autocast's copy of the weights in bfloat16.
_STATE_BYTES, _COPY_BYTES = 16, 2
# CUDA's context, NCCL's buffers, cuDNN's workspaces, and what the allocator cannot use between blocks.
_FIXED_BYTES = 2 << 30
# Beside what is kept: the normalised frames in float32, and a layer's gradients on their way.
_TRANSIENT_SHARE = 0.1
# What is estimated must leave this much of a GPU free.
_MARGIN = 0.05


@dataclass(frozen=True)
class StepShape:
    """What of a finetuning decides its memory.

    Args:
        networks: Networks that are trained, of `scene` and `event`.
        variant: CSN variant, 'ip' or 'ir'.
        clips: Clips that a worker computes at once.
        frames: Frames of a clip, at most.
        size: Height and width of a frame, pixels.
        bfloat16: Whether activations are in bfloat16, not in float32.
        averaged: Whether a moving average of the weights is kept.
    """

    networks: Sequence[str]
    variant: str
    clips: int
    frames: int
    size: int
    bfloat16: bool
    averaged: bool = False


def estimate_step_bytes(shape: StepShape) -> int:
    """Estimate the memory that a step takes where no block is recomputed.

    Source: the activations that autograd keeps of both networks, counted on the `meta` device, which computes shapes
    alone. A clip of 45 frames of 256x256 keeps 3.14 GB of CSN-152 (ip) and 0.14 GB of HRNetV2-W48 in bfloat16, twice as
    much in float32; 16 clips: 48.9 GiB kept, 57.4 GiB with weights, transient tensors and CUDA's own.

    Args:
        shape: What decides it.
    Returns:
        Bytes on a worker's GPU; they are linear in the number of clips.
    """
    kept, parameters = count_kept_bytes(shape)
    state = _STATE_BYTES + _COPY_BYTES * shape.bfloat16 + 4 * shape.averaged
    return int(parameters * state + shape.clips * kept * (1 + _TRANSIENT_SHARE) + _FIXED_BYTES)


def fits_without_recomputation(shape: StepShape, memory: int) -> bool:
    """Whether a step fits a GPU where no block is recomputed.

    Args:
        shape: What decides its memory.
        memory: Bytes of the smallest GPU's memory; 0: not known.
    Returns:
        Whether it does; False where nobody knows.
    """
    return bool(memory) and estimate_step_bytes(shape) <= (1 - _MARGIN) * memory


def count_kept_bytes(shape: StepShape) -> tuple[int, int]:
    """Count what autograd keeps of a clip between the forward and the backward pass.

    Args:
        shape: What decides it; its number of clips does not.
    Returns:
        Bytes of activations a clip, and the number of the networks' parameters.
    """
    kind = torch.bfloat16 if shape.bfloat16 else torch.float32
    with torch.device("meta"):
        modules = build_networks(list(shape.networks), shape.variant)
        inputs = {
            "scene": torch.empty(1, 3, shape.size, shape.size, dtype=kind),
            "event": torch.empty(1, 3, max(shape.frames, event.MIN_FRAMES), shape.size, shape.size, dtype=kind),
        }
    kept = sum(_count_kept(module.to(kind), inputs[name]) for name, module in modules.items())
    return kept, sum(p.numel() for module in modules.values() for p in module.parameters())


def _count_kept(module: nn.Module, pixels: Tensor) -> int:
    """Bytes of the storages that a forward pass keeps, each once, its weights left out."""
    for norm in module.modules():
        if isinstance(norm, _NORMS):
            norm.eval()
    own = {tensor.untyped_storage()._cdata for tensor in [*module.parameters(), *module.buffers()]}
    kept: dict[int, torch.UntypedStorage] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        module(pixels)
    return sum(storage.nbytes() for key, storage in kept.items() if key not in own)
