"""The event tier: CSN-152, pooled, on the whole clip."""

from __future__ import annotations

from collections.abc import Sequence

from m3ray.config import EventConfig
from m3ray.tiers.backbones.csn import FEATURES, ip_csn_152, ir_csn_152
from m3ray.tiers.base import WeightedValue, Window, WindowFeatures
from m3ray.tiers.network import Network, Normalise, compute_vectors
from m3ray.tiers.network_tier import VectorTier
from m3ray.tiers.slab import Frames, repeat_last_frame, take_shrunk_frames

NETWORKS = {"ip": ip_csn_152, "ir": ir_csn_152}
NORMALISE = Normalise((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))  # Kinetics-400's
# The network halves time three times: fewer frames leave it nothing to average.
MIN_FRAMES = 8


class EventTier(VectorTier):
    """2,048 numbers of what happens in a clip.

    A window shorter than 8 frames is padded by repeating its last frame. A clip of several windows gets the mean over
    them, each counting by its frames.
    """

    name = "event"
    width = FEATURES
    whole_clip = True

    @property
    def network(self) -> Network:
        """CSN-152 of the variant that the settings name, not yet built."""
        assert isinstance(self.config, EventConfig)
        assert self.config.precision != "auto", "precision is resolved before a tier is made"
        return Network(NETWORKS[self.config.network], NORMALISE, self.source, self.config.precision)

    def compute(self, windows: Sequence[Window]) -> list[WindowFeatures]:
        """Compute one vector for each window.

        Args:
            windows: windows of one or of several clips.
        Returns:
            `event`, (2048,), of each window, weighted by its frames.
        """
        assert isinstance(self.config, EventConfig)
        size = self.config.size
        return compute_window_vectors(self, windows, [take_shrunk_frames(window, size) for window in windows])


def compute_window_vectors(
    tier: VectorTier, windows: Sequence[Window], frames: Sequence[Frames]
) -> list[WindowFeatures]:
    """Compute a CSN's vector of each window, weighted by the window's own number of frames.

    Args:
        tier: the tier whose network computes them, set up.
        windows: windows of one or of several clips.
        frames: the frames of each window as the network sees them, uint8, (T, H, W, 3); padded here.
    Returns:
        The tier's column of each window, in order.
    """
    vectors = compute_vectors(tier.loaded, [repeat_last_frame(shown, MIN_FRAMES) for shown in frames], tier.column)
    return [
        {tier.column: WeightedValue(values[tier.column].value, len(window.frames))}
        for window, values in zip(windows, vectors, strict=True)
    ]
