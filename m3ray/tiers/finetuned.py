"""Finetuned networks as tiers, `tuned:scene` and `tuned:event`, which come with the bundle they were trained for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from m3ray.config import FinetunedConfig
from m3ray.tiers import event, scene
from m3ray.tiers.backbones import hrnetv2_w48
from m3ray.tiers.base import Tier, Window, WindowFeatures
from m3ray.tiers.network import Network, WeightSource
from m3ray.tiers.network_tier import VectorTier
from m3ray.tiers.slab import Frames, take_shrunk_frames

FINETUNED_PREFIX = "tuned:"
_ENDING = ".safetensors"


def network_file_name(tier: str) -> str:
    """The name of a finetuned network's file in a bundle's folder, such as `tuned-scene.safetensors`.

    Args:
        tier: name of the tier, such as `tuned:scene`.
    """
    return tier.replace(":", "-") + _ENDING


def tier_of_network_file(file: str) -> str:
    """The tier whose network a file of a bundle holds; the inverse of `network_file_name`.

    Args:
        file: name of the file, such as `tuned-scene.safetensors`.
    """
    return file.removesuffix(_ENDING).replace("-", ":", 1)


class _FinetunedTier(VectorTier):
    config: FinetunedConfig

    @property
    def column(self) -> str:
        """The name of its column, `tuned_scene` say: column names have no colon."""
        return self.name.replace(":", "_")

    @property
    def untrained(self) -> bool:
        """Whether the network's training began from random weights."""
        return self.config.untrained

    def _shrink(self, window: Window, stop: int | None = None) -> Frames:
        return take_shrunk_frames(window, self.config.size, stop)

    def _network(self, build: Any, normalise: Any) -> Network:
        assert self.config.precision != "auto", "precision is resolved before a tier is made"
        return Network(build, normalise, self.source, self.config.precision)


class FinetunedScene(_FinetunedTier):
    """The vector of a finetuned HRNetV2-W48, on a clip's first frame."""

    name = "tuned:scene"
    width = scene.SceneTier.width
    whole_clip = False

    @property
    def network(self) -> Network:
        """HRNetV2-W48 with the finetuned weights, not yet built."""
        return self._network(hrnetv2_w48, scene.NORMALISE)

    def compute(self, windows: Sequence[Window]) -> list[WindowFeatures]:
        """Compute one vector for each clip.

        Args:
            windows: windows of one or of several clips, frames at the decoder's size.
        Returns:
            `tuned_scene`, (720,), of each clip's first window; nothing for its later windows.
        """
        return scene.compute_first_frames(self, windows, lambda window: self._shrink(window, 1))


class FinetunedEvent(_FinetunedTier):
    """The vector of a finetuned CSN-152, on the whole clip."""

    name = "tuned:event"
    width = event.EventTier.width
    whole_clip = True

    @property
    def network(self) -> Network:
        """CSN-152 with the finetuned weights, not yet built."""
        return self._network(event.NETWORKS[self.config.network], event.NORMALISE)

    def compute(self, windows: Sequence[Window]) -> list[WindowFeatures]:
        """Compute one vector for each window.

        Args:
            windows: windows of one or of several clips, frames at the decoder's size.
        Returns:
            `tuned_event`, (2048,), of each window, weighted by its frames.
        """
        return event.compute_window_vectors(self, windows, [self._shrink(window) for window in windows])


FINETUNED: dict[str, Callable[[FinetunedConfig, WeightSource], Tier]] = {
    "scene": FinetunedScene,
    "event": FinetunedEvent,
}


def build_networks(names: Sequence[str], network: str) -> dict[str, nn.Module]:
    """The networks of tiers, before their weights are loaded.

    Args:
        names: tiers, `scene`, `event` or both.
        network: CSN variant of the event tier, `ip` or `ir`.
    Returns:
        Tier to its network.
    """
    build = {"scene": hrnetv2_w48, "event": event.NETWORKS[network]}
    return {name: build[name]() for name in names}
