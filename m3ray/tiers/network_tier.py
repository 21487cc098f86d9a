"""What the scene, event and torchvision tiers share: each is the pooled vector of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch

from m3ray.config import EventConfig, SceneConfig, TunedConfig, VisionConfig, as_json
from m3ray.schema import vector_schema
from m3ray.tiers.network import LoadedNetwork, Network, WeightSource


@dataclass
class VectorTier:
    """A tier that is the pooled vector of a network; a subclass says which network, and what it is shown.

    Args:
        config: the tier's settings, precision resolved.
        source: the network's weights.
    """

    config: SceneConfig | EventConfig | VisionConfig | TunedConfig
    source: WeightSource

    code_version = 1

    @property
    def name(self) -> str:
        """The tier's name."""
        raise TypeError(f"{type(self).__name__} has no name")

    @property
    def column(self) -> str:
        """What its vector is called in Parquet."""
        return self.name

    @property
    def width(self) -> int:
        """Numbers in its vector."""
        raise TypeError(f"{type(self).__name__} has no width")

    @property
    def network(self) -> Network:
        """The network, light: not yet built."""
        raise TypeError(f"{type(self).__name__} names no network")

    @property
    def schema(self) -> pa.Schema:
        """`clip_id` and the vector."""
        return vector_schema(self.column, self.width)

    @property
    def untrained(self) -> bool:
        """Whether its numbers come from random weights."""
        return self.source.untrained

    def identity(self) -> dict[str, Any]:
        """All that changes the tier's numbers."""
        weights = self.source.identity()
        return {"tier": self.name, "code": self.code_version, "config": as_json(self.config), "weights": weights}

    def setup(self, device: torch.device) -> None:
        """Builds the network on `device`."""
        self.loaded: LoadedNetwork = self.network.load(device)

    def compile(self) -> None:
        """Lets torch.compile fuse the network into CUDA graphs, one a shape of input; after `setup`."""
        self.loaded.module.compile(mode="reduce-overhead")
