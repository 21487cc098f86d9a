"""The scene tier: HRNetV2-W48's four branches, pooled, on the first frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import pyarrow as pa
from torch import nn

from m3ray.schema import vector_schema
from m3ray.tiers.backbones.hrnet import FEATURES, hrnetv2_w48
from m3ray.tiers.base import Measured, Window
from m3ray.tiers.vector import VectorTier, batched


class SceneTier(VectorTier):
    """720 numbers of the scene in a clip's first frame."""

    name = "scene"
    code_version = 1
    whole_clip = False
    schema: ClassVar[pa.Schema] = vector_schema("scene", FEATURES)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's

    @property
    def builder(self) -> Callable[[], nn.Module]:
        return hrnetv2_w48

    def measure(self, windows: Sequence[Window]) -> list[Measured]:
        """One scene a clip: later windows of a long clip add nothing."""
        firsts = [window.frames[0] for window in windows if window.index == 0]
        scenes = iter(batched(self._network, firsts, self.name))
        return [next(scenes) if window.index == 0 else {} for window in windows]
