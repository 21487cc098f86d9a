"""From names and settings to tiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from m3ray.config import Precision, TierConfigs
from m3ray.errors import ConfigError
from m3ray.tiers.backbones.prepare import auto_precision
from m3ray.tiers.base import Tier
from m3ray.tiers.event import EventTier
from m3ray.tiers.hog_pca import HogProjection
from m3ray.tiers.perception import RawTier
from m3ray.tiers.scene import SceneTier
from m3ray.tiers.vector import WeightSource


@dataclass(frozen=True)
class Ingredients:
    """What tiers are made from."""

    configs: TierConfigs
    sources: Mapping[str, WeightSource]
    projection: HogProjection | None


def _raw(parts: Ingredients) -> Tier:
    if parts.projection is None:
        raise ConfigError("the raw tier needs HOG's PCA: it is fitted by extract, and comes with a bundle")
    return RawTier(parts.configs.raw, parts.projection)


def _scene(parts: Ingredients) -> Tier:
    return SceneTier(parts.configs.scene, parts.sources["scene"])


def _event(parts: Ingredients) -> Tier:
    return EventTier(parts.configs.event, parts.sources["event"])


TIERS: dict[str, Callable[[Ingredients], Tier]] = {"raw": _raw, "scene": _scene, "event": _event}


def check_names(names: Sequence[str], also: Sequence[str] = ()) -> None:
    """Raises ConfigError for a tier that nobody computes."""
    unknown = [name for name in names if name not in TIERS and name not in also]
    if unknown:
        raise ConfigError(f"unknown tier {', '.join(unknown)}: choose from {', '.join((*TIERS, *also))}")


def make_tiers(names: Sequence[str], parts: Ingredients) -> list[Tier]:
    """The tiers in the order asked for, each named once."""
    check_names(names)
    return [TIERS[name](parts) for name in dict.fromkeys(names)]


def with_precision(configs: TierConfigs, device: torch.device) -> TierConfigs:
    """Settings whose `auto` precision is decided: on every node the same, and part of the fingerprint."""
    decided: Precision = "bfloat16" if auto_precision(device) is torch.bfloat16 else "float32"
    scene, event = configs.scene, configs.event
    if scene.precision == "auto":
        scene = replace(scene, precision=decided)
    if event.precision == "auto":
        event = replace(event, precision=decided)
    return replace(configs, scene=scene, event=event)
