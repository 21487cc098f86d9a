"""The scene tier: HRNetV2-W48's four branches, pooled, on the first frame."""

from __future__ import annotations

from collections.abc import Sequence

from m3ray.tiers.backbones.hrnet import FEATURES, hrnetv2_w48
from m3ray.tiers.base import Measured, Window
from m3ray.tiers.network import Network, Normalise, batched
from m3ray.tiers.network_tier import VectorTier

NORMALISE = Normalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # ImageNet's


class SceneTier(VectorTier):
    """720 numbers of the scene in a clip's first frame."""

    name = "scene"
    width = FEATURES
    whole_clip = False

    @property
    def network(self) -> Network:
        assert self.config.precision != "auto", "precision is resolved before a tier is made"
        return Network(hrnetv2_w48, NORMALISE, self.source, self.config.precision)

    def measure(self, windows: Sequence[Window]) -> list[Measured]:
        """One scene a clip: later windows of a long clip add nothing."""
        return of_first_frames(self, windows)


def of_first_frames(tier: VectorTier, windows: Sequence[Window]) -> list[Measured]:
    """The vector of each clip's first frame; nothing for its later windows."""
    firsts = [window.frames[0] for window in windows if window.index == 0]
    vectors = iter(batched(tier.loaded, firsts, tier.column))
    return [next(vectors) if window.index == 0 else {} for window in windows]
