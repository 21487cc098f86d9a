"""The scene tier: HRNetV2-W48's four branches, pooled, on the first frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import torch

from m3ray.config import SceneConfig, as_json
from m3ray.schema import vector_schema
from m3ray.tiers.backbones.hrnet import FEATURES, hrnetv2_w48
from m3ray.tiers.base import Measured, Window
from m3ray.tiers.vector import Network, WeightSource, batched

CODE_VERSION = 1
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


@dataclass
class SceneTier:
    """720 numbers of the scene in a clip's first frame.

    Args:
        config: the tier's settings, precision resolved.
        source: HRNetV2-W48's weights.
    """

    config: SceneConfig
    source: WeightSource

    name = "scene"
    whole_clip = False
    schema: ClassVar[pa.Schema] = vector_schema("scene", FEATURES)

    @property
    def untrained(self) -> bool:
        return self.source.untrained

    @property
    def network(self) -> Network:
        assert self.config.precision != "auto", "precision is resolved before a tier is made"
        return Network(hrnetv2_w48, MEAN, STD, self.source, self.config.precision)

    def identity(self) -> dict[str, Any]:
        weights = self.source.identity()
        return {"tier": self.name, "code": CODE_VERSION, "config": as_json(self.config), "weights": weights}

    def setup(self, device: torch.device) -> None:
        self._network = self.network.load(device)

    def measure(self, windows: Sequence[Window]) -> list[Measured]:
        firsts = [window.frames[0] for window in windows if window.index == 0]
        scenes = iter(batched(self._network, firsts, self.name))
        # Later windows of a long clip add nothing: the scene is that of its first frame.
        return [next(scenes) if window.index == 0 else {} for window in windows]
