"""A pooled network on its device: uint8 frames in, features out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from m3ray.errors import WeightsError
from m3ray.tiers.backbones import load_weights, prepared, untrained_
from m3ray.tiers.base import Measured, Weighted

Transform = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class WeightSource:
    """Where a network's weights come from.

    Args:
        location: path or URL; None: untrained.
        sha256: hash of the file; None until `pinned`.
        seed: of untrained weights.
    """

    location: str | None = None
    sha256: str | None = None
    seed: int = 0

    @property
    def untrained(self) -> bool:
        return self.location is None

    def identity(self) -> dict[str, Any]:
        """What of the weights changes numbers: the file's hash, not where it lies."""
        return {"untrained_seed": self.seed} if self.untrained else {"sha256": self.sha256}


@dataclass(frozen=True)
class Normalise:
    """uint8 with channels last to normalised floats with channels second.

    Args:
        mean: of each channel, in [0, 1].
        std: of each channel, in [0, 1].
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, frames: Tensor) -> Tensor:
        """(B, [T,] H, W, 3) to (B, 3, [T,] H, W)."""
        mean, std = (torch.tensor(values, device=frames.device) for values in (self.mean, self.std))
        # One multiplication and one addition; channels go second in name alone, the memory stays as convolutions want.
        return (frames * (1 / (255 * std)) - mean / std).movedim(-1, 1)


@dataclass(frozen=True)
class Network:
    """A frozen network, ready to turn uint8 frames into pooled features.

    Args:
        build: constructs the module that the weights are for.
        transform: uint8 frames on the device, (B, [T,] H, W, 3), to the module's input.
        source: its weights.
        precision: in which it computes.
        cut: what is kept of the filled module; None: all.
        foldable: whether its children are named in the order in which they run, so that batch norms can be folded.
    """

    build: Callable[[], nn.Module]
    transform: Transform
    source: WeightSource
    precision: Literal["float32", "bfloat16"]
    cut: Callable[[nn.Module], nn.Module] | None = None
    foldable: bool = True

    def filled(self) -> nn.Module:
        """The module with its weights, on the CPU."""
        # torchvision's models may draw what is in no weight file; ours hold nothing else.
        with _WithoutDraws() if self.foldable else nullcontext():
            module = self.build()
        if self.source.location is None:
            return untrained_(module, self.source.seed)
        load_weights(module, self.source.location, self.source.sha256)
        return module

    def load(self, device: torch.device) -> LoadedNetwork:
        """Builds, fills and prepares it on `device`."""
        module = self.filled()
        module = module if self.cut is None else self.cut(module)
        precision = torch.float32 if self.precision == "float32" else torch.bfloat16
        module = prepared(module, device, precision, fold=self.foldable, own=True)
        return LoadedNetwork(module, self.transform, device, precision)

    def check(self) -> None:
        """Raises WeightsError if the weights don't load or hold numbers that are not finite; before any clip."""
        if not all(torch.isfinite(value).all() for value in self.filled().state_dict().values()):
            raise WeightsError(f"{self.source.location} holds numbers that are not finite: fetch the file again")


class _WithoutDraws(TorchFunctionMode):
    """Layers keep whatever is in their memory instead of drawing starting weights, which others replace at once."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (nn.init.kaiming_uniform_, nn.init.uniform_, Tensor.uniform_):
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@dataclass
class LoadedNetwork:
    """A network on its device."""

    module: nn.Module
    transform: Transform
    device: torch.device
    precision: torch.dtype

    @torch.inference_mode()
    def __call__(self, frames: Sequence[Tensor]) -> list[np.ndarray]:
        """Features, float32, of each batch of uint8 frames, (B, H, W, 3) or (B, T, H, W, 3).

        On a GPU a batch is copied while the one before it is computed, and results wait on the device to the end.
        """
        staged = self._staged(frames)
        features = [self.module(self.transform(self._ready(*stage)).to(self.precision)) for stage in staged]
        return [values.float().cpu().numpy() for values in features]

    def _staged(self, batches: Sequence[Tensor]) -> list[tuple[Tensor, torch.cuda.Event | None]]:
        if self.device.type != "cuda":
            return [(frames.to(self.device), None) for frames in batches]
        copies, staged = torch.cuda.Stream(self.device), []
        with torch.cuda.stream(copies):
            for frames in batches:
                copied = frames.pin_memory().to(self.device, non_blocking=True)
                staged.append((copied, copies.record_event()))
        return staged

    @staticmethod
    def _ready(frames: Tensor, copied: torch.cuda.Event | None) -> Tensor:
        if copied is not None:
            computing = torch.cuda.current_stream(frames.device)
            computing.wait_event(copied)
            # Its memory belongs to the copying stream: not to be reused before this one has read it.
            frames.record_stream(computing)
        return frames


def batched(network: LoadedNetwork, inputs: Sequence[np.ndarray], column: str) -> list[Measured]:
    """Runs equal shapes together and returns one measured window an input, in order."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for position, array in enumerate(inputs):
        groups[array.shape].append(position)
    stacks = [torch.from_numpy(np.stack([inputs[p] for p in positions])) for positions in groups.values()]
    out: dict[int, Measured] = {}
    for positions, features in zip(groups.values(), network(stacks), strict=True):
        out.update({p: {column: Weighted(row, 1.0)} for p, row in zip(positions, features, strict=True)})
    return [out[position] for position in range(len(inputs))]
