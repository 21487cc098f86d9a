"""What the scene and event tiers share: a pooled network, its weights, its input normalisation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from m3ray.config import EventConfig, SceneConfig, as_json
from m3ray.errors import WeightsError
from m3ray.tiers.backbones import load_weights, prepared, untrained_
from m3ray.tiers.base import Measured, Weighted


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
class Network:
    """A frozen network, ready to turn uint8 frames into pooled features.

    Args:
        build: constructs the module.
        mean: of each channel, in [0, 1].
        std: of each channel, in [0, 1].
        source: its weights.
        precision: in which it computes.
    """

    build: Callable[[], nn.Module]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: WeightSource
    precision: Literal["float32", "bfloat16"]

    def load(self, device: torch.device) -> LoadedNetwork:
        """Builds, fills and prepares it on `device`."""
        module = self.build()
        if self.source.location is None:
            untrained_(module, self.source.seed)
        else:
            load_weights(module, self.source.location, self.source.sha256)
        precision = torch.float32 if self.precision == "float32" else torch.bfloat16
        # Values in [0, 255] are normalised in one multiplication and one addition.
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        scale, shift = 1 / (255 * std), -mean / std
        return LoadedNetwork(prepared(module, device, precision), scale.to(device), shift.to(device), precision)

    def check(self) -> None:
        """Raises WeightsError if the weights don't load or their features are not finite; before any clip."""
        loaded = self.load(torch.device("cpu"))
        if not all(torch.isfinite(p).all() for p in loaded.module.parameters()):
            raise WeightsError(f"{self.source.location} holds numbers that are not finite: fetch the file again")


@dataclass
class LoadedNetwork:
    """A network on its device."""

    module: nn.Module
    scale: Tensor
    shift: Tensor
    precision: torch.dtype

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> np.ndarray:
        """Features, float32, of uint8 frames with channels last: (B, H, W, 3) or (B, T, H, W, 3)."""
        frames = frames.to(self.scale.device, non_blocking=True)
        normalised = (frames * self.scale + self.shift).to(self.precision)
        # Channels go second in name alone: the memory stays channels-last, as the convolutions want it.
        return self.module(normalised.movedim(-1, 1)).float().cpu().numpy()


@dataclass
class VectorTier:
    """A tier that is the pooled vector of a network; a subclass says which network, and what it is shown.

    Args:
        config: the tier's settings, precision resolved.
        source: the network's weights.
    """

    config: SceneConfig | EventConfig
    source: WeightSource

    name: ClassVar[str]
    code_version: ClassVar[int]
    mean: ClassVar[tuple[float, float, float]]
    std: ClassVar[tuple[float, float, float]]

    @property
    def untrained(self) -> bool:
        return self.source.untrained

    @property
    def builder(self) -> Callable[[], nn.Module]:
        """Constructs the network."""
        raise TypeError(f"{type(self).__name__} names no network")

    @property
    def network(self) -> Network:
        """The network, light: not yet built."""
        assert self.config.precision != "auto", "precision is resolved before a tier is made"
        return Network(self.builder, self.mean, self.std, self.source, self.config.precision)

    def identity(self) -> dict[str, Any]:
        """All that changes the tier's numbers."""
        weights = self.source.identity()
        return {"tier": self.name, "code": self.code_version, "config": as_json(self.config), "weights": weights}

    def setup(self, device: torch.device) -> None:
        """Builds the network on `device`."""
        self._network = self.network.load(device)


def batched(network: LoadedNetwork, inputs: Sequence[np.ndarray], column: str) -> list[Measured]:
    """Runs equal shapes together and returns one measured window an input, in order."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for position, array in enumerate(inputs):
        groups[array.shape].append(position)
    out: dict[int, Measured] = {}
    for positions in groups.values():
        features = network(torch.from_numpy(np.stack([inputs[p] for p in positions])))
        out.update({p: {column: Weighted(row, 1.0)} for p, row in zip(positions, features, strict=True)})
    return [out[position] for position in range(len(inputs))]
