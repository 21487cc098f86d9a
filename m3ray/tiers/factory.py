"""From names and settings to tiers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from m3ray.config import Precision, TierConfigs
from m3ray.errors import ConfigError
from m3ray.tiers.backbones.prepare import auto_precision
from m3ray.tiers.base import Tier
from m3ray.tiers.event import EventTier
from m3ray.tiers.finetuned import PREFIX as TUNED_PREFIX
from m3ray.tiers.finetuned import TUNED
from m3ray.tiers.hog_pca import HogProjection
from m3ray.tiers.network import WeightSource
from m3ray.tiers.raw_tier import RawTier
from m3ray.tiers.scene import SceneTier
from m3ray.tiers.torchvision_tier import PREFIX, VisionTier, check_model


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


def _vision(name: str) -> Callable[[Ingredients], Tier]:
    model = name.removeprefix(PREFIX)
    return lambda parts: VisionTier(parts.configs.vision, parts.sources[name], model)


def _tuned(name: str) -> Callable[[Ingredients], Tier]:
    def make(parts: Ingredients) -> Tier:
        source = parts.sources.get(f"{TUNED_PREFIX}{name}")
        if source is None:
            raise ConfigError(f"{TUNED_PREFIX}{name} comes with the bundle of an unfrozen model: use jobs/predict.py")
        return TUNED[name](parts.configs.tuned, source)

    return make


TIERS: dict[str, Callable[[Ingredients], Tier]] = {
    "raw": _raw,
    "scene": _scene,
    "event": _event,
    **{f"{TUNED_PREFIX}{name}": _tuned(name) for name in TUNED},
}


def computed(names: Iterable[str]) -> list[str]:
    """Those of `names` that are computed from videos, each once, the paper's own first."""
    wanted = dict.fromkeys(names)
    return [*(name for name in TIERS if name in wanted), *(name for name in wanted if name.startswith(PREFIX))]


def check_names(names: Sequence[str], also: Sequence[str] = ()) -> None:
    """Raises ConfigError for a tier that nobody computes."""
    unknown = [name for name in names if name not in {*computed(names), *also}]
    if unknown:
        known = [name for name in TIERS if not name.startswith(TUNED_PREFIX)]
        raise ConfigError(
            f"unknown tier {', '.join(unknown)}: choose from {', '.join((*known, *also))}, torchvision:NAME"
        )
    for name in names:
        if name.startswith(PREFIX):
            check_model(name.removeprefix(PREFIX))


def make_tiers(names: Sequence[str], parts: Ingredients) -> list[Tier]:
    """The tiers, each named once."""
    check_names(names)
    return [(TIERS[name] if name in TIERS else _vision(name))(parts) for name in computed(names)]


def with_precision(configs: TierConfigs, device: torch.device) -> TierConfigs:
    """Settings whose `auto` precision is decided: on every node the same, and part of the fingerprint."""
    decided: Precision = "bfloat16" if auto_precision(device) is torch.bfloat16 else "float32"
    changed = {
        name: replace(getattr(configs, name), precision=decided)
        for name in ("scene", "event", "vision")
        if getattr(configs, name).precision == "auto"
    }
    return replace(configs, **changed)
