"""Networks that were trained unfrozen, as tiers: `tuned:scene` and `tuned:event`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from m3ray.config import TunedConfig
from m3ray.tiers import event, scene
from m3ray.tiers.backbones import hrnetv2_w48
from m3ray.tiers.base import Measured, Tier, Weighted, Window
from m3ray.tiers.network import Network, WeightSource, batched
from m3ray.tiers.network_tier import VectorTier
from m3ray.video.frame_cache import shrunk

_NETWORK = ".safetensors"


def network_file(tier: str) -> str:
    """What a fine-tuned network is called in a bundle's folder: `tuned-scene.safetensors`."""
    return tier.replace(":", "-") + _NETWORK


def network_tier(file: str) -> str:
    """The inverse of `network_file`."""
    return file.removesuffix(_NETWORK).replace("-", ":", 1)


PREFIX = "tuned:"


class _TunedTier(VectorTier):
    config: TunedConfig

    @property
    def column(self) -> str:
        """`tuned_scene`: a colon is no good in a column's name."""
        return self.name.replace(":", "_")

    @property
    def untrained(self) -> bool:
        """Whether the network began from random weights."""
        return self.config.untrained

    def _shown(self, window: Window) -> Window:
        return replace(window, frames=shrunk(window.frames, self.config.size))

    def _network(self, build: Any, normalise: Any) -> Network:
        assert self.config.precision != "auto", "precision is resolved before a tier is made"
        return Network(build, normalise, self.source, self.config.precision)


class TunedScene(_TunedTier):
    """The scene tier of a fine-tuned HRNetV2-W48."""

    name = "tuned:scene"
    width = scene.SceneTier.width
    whole_clip = False

    @property
    def network(self) -> Network:
        return self._network(hrnetv2_w48, scene.NORMALISE)

    def measure(self, windows: Sequence[Window]) -> list[Measured]:
        """One scene a clip."""
        firsts = [replace(w, frames=w.frames[:1]) for w in windows]
        return scene.of_first_frames(self, [self._shown(window) for window in firsts])


class TunedEvent(_TunedTier):
    """The event tier of a fine-tuned CSN-152."""

    name = "tuned:event"
    width = event.EventTier.width
    whole_clip = True

    @property
    def network(self) -> Network:
        return self._network(event.NETWORKS[self.config.network], event.NORMALISE)

    def measure(self, windows: Sequence[Window]) -> list[Measured]:
        """One vector a window, as the event tier."""
        frames = [event.padded(self._shown(window).frames, event.FEWEST_FRAMES) for window in windows]
        measured = batched(self.loaded, frames, self.column)
        return [
            {self.column: Weighted(values[self.column].value, len(window.frames))}
            for window, values in zip(windows, measured, strict=True)
        ]


TUNED: dict[str, Callable[[TunedConfig, WeightSource], Tier]] = {"scene": TunedScene, "event": TunedEvent}


def networks(names: Sequence[str], network: str) -> dict[str, nn.Module]:
    """The bare modules of tiers, their weights still to be filled in.

    Args:
        names: `scene`, `event` or both.
        network: of the event tier, `ip` or `ir`.
    """
    build = {"scene": hrnetv2_w48, "event": event.NETWORKS[network]}
    return {name: build[name]() for name in names}
