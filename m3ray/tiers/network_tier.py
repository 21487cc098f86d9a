"""The base class of the scene, event and torchvision tiers, each of which is the pooled vector of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch

from m3ray.config import EventConfig, FinetunedConfig, ImageNetworkConfig, SceneConfig, VisionConfig, as_json
from m3ray.schema import vector_schema
from m3ray.tiers.network import LoadedNetwork, Network, WeightSource


@dataclass
class VectorTier:
    """A tier that is the pooled vector of a network.

    A subclass says which network, and in `compute` which frames the network is given.

    Args:
        config: settings of the tier, precision resolved.
        source: weights of the network.
    """

    config: SceneConfig | EventConfig | VisionConfig | ImageNetworkConfig | FinetunedConfig
    source: WeightSource

    code_version = 1

    @property
    def name(self) -> str:
        """The tier's name."""
        raise TypeError(f"{type(self).__name__} has no name")

    @property
    def column(self) -> str:
        """The name of its vector's column in Parquet."""
        return self.name

    @property
    def width(self) -> int:
        """How many numbers its vector has."""
        raise TypeError(f"{type(self).__name__} has no width")

    @property
    def network(self) -> Network:
        """The network, not yet built."""
        raise TypeError(f"{type(self).__name__} names no network")

    @property
    def schema(self) -> pa.Schema:
        """The schema of its table: `clip_id` and the vector."""
        return vector_schema(self.column, self.width)

    @property
    def untrained(self) -> bool:
        """Whether its numbers come from random weights."""
        return self.source.untrained

    def identity(self) -> dict[str, Any]:
        """All that changes the tier's numbers; its hash is the tier's fingerprint."""
        weights = self.source.identity()
        return {"tier": self.name, "code": self.code_version, "config": as_json(self.config), "weights": weights}

    def setup(self, device: torch.device) -> None:
        """Build the network and load its weights.

        Args:
            device: device that `compute` runs on.
        Raises:
            WeightsError: If the weights cannot be loaded.
        """
        self.loaded: LoadedNetwork = self.network.load(device)

    def compile(self) -> None:
        """Let torch.compile fuse the network's operations; call it after `setup`."""
        self.loaded.compile()
