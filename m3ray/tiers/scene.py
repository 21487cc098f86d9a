"""The scene tier: HRNetV2-W48's four branches, pooled, on the first frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from m3ray.config import SceneConfig
from m3ray.tiers.backbones.hrnet import FEATURES, hrnetv2_w48
from m3ray.tiers.base import Window, WindowFeatures
from m3ray.tiers.network import Network, Normalise, compute_vectors
from m3ray.tiers.network_tier import VectorTier
from m3ray.tiers.slab import Frames, first_of, take_frames, take_shrunk_frames

NORMALISE = Normalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # ImageNet's


class SceneTier(VectorTier):
    """720 numbers of the scene in a clip's first frame."""

    name = "scene"
    width = FEATURES
    whole_clip = False

    @property
    def network(self) -> Network:
        """HRNetV2-W48, not yet built."""
        assert self.config.precision != "auto", "precision is resolved before a tier is made"
        return Network(hrnetv2_w48, NORMALISE, self.source, self.config.precision)

    def compute(self, windows: Sequence[Window]) -> list[WindowFeatures]:
        """Compute one vector for each clip.

        Args:
            windows: windows of one or of several clips.
        Returns:
            `scene`, (720,), of each clip's first window; nothing for its later windows.
        """
        assert isinstance(self.config, SceneConfig)
        return compute_first_frames(self, windows, partial(take_shrunk_frames, size=self.config.size, stop=1))


def compute_first_frames(
    tier: VectorTier, windows: Sequence[Window], take: Callable[[Window], Frames] = take_frames
) -> list[WindowFeatures]:
    """Compute the vector of each clip's first frame.

    Args:
        tier: a tier of images, set up.
        windows: windows of one or of several clips.
        take: function from a window to frames as the network sees them, (T, H, W, 3), of which the first is used.
    Returns:
        The tier's column of each first window; an empty mapping for later windows.
    """
    first_frames = [first_of(take(window)) for window in windows if window.index == 0]
    vectors = iter(compute_vectors(tier.loaded, first_frames, tier.column))
    return [next(vectors) if window.index == 0 else {} for window in windows]
