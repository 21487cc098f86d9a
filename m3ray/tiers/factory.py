"""Tiers from their names and settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from m3ray.config import Precision, TierConfigs
from m3ray.errors import ConfigError
from m3ray.tiers.base import Tier
from m3ray.tiers.event import EventTier
from m3ray.tiers.finetuned import FINETUNED, FINETUNED_PREFIX
from m3ray.tiers.hog_pca import HogProjection
from m3ray.tiers.library_tier import LibraryTier
from m3ray.tiers.network import WeightSource
from m3ray.tiers.open_clip_tier import OpenClipTier
from m3ray.tiers.pretrained.facts import SCORERS
from m3ray.tiers.pretrained.tier import ScorerTier
from m3ray.tiers.raw_tier import RawTier
from m3ray.tiers.scene import SceneTier
from m3ray.tiers.timm_tier import TimmTier
from m3ray.tiers.torchvision_tier import PREFIX, VisionTier, check_model

LIBRARIES: dict[str, type[LibraryTier]] = {"timm": TimmTier, "clip": OpenClipTier}
"""Libraries of networks of images whose models are tiers, `timm:NAME` say."""
_PREFIXES = (PREFIX, *(f"{library}:" for library in LIBRARIES))


@dataclass(frozen=True)
class TierInputs:
    """All that tiers are made from.

    Args:
        configs: settings of every tier.
        sources: tier name to the weights of its network.
        projection: HOG's PCA, which the raw tier needs; None where there is none yet.
    """

    configs: TierConfigs
    sources: Mapping[str, WeightSource]
    projection: HogProjection | None


def _make_raw(inputs: TierInputs) -> Tier:
    if inputs.projection is None:
        raise ConfigError("the raw tier needs HOG's PCA: it is fitted by extract, and comes with a bundle")
    return RawTier(inputs.configs.raw, inputs.projection)


def _make_scene(inputs: TierInputs) -> Tier:
    return SceneTier(inputs.configs.scene, inputs.sources["scene"])


def _make_event(inputs: TierInputs) -> Tier:
    return EventTier(inputs.configs.event, inputs.sources["event"])


def _make_torchvision(name: str, inputs: TierInputs) -> Tier:
    return VisionTier(inputs.configs.vision, inputs.sources[name], name.removeprefix(PREFIX))


def _make_scorer(name: str, inputs: TierInputs) -> Tier:
    return ScorerTier(inputs.configs.image, inputs.sources[name], name, inputs.configs.decode)


def _make_library_tier(name: str, inputs: TierInputs) -> Tier:
    prefix, _, model = name.partition(":")
    return LIBRARIES[prefix](inputs.configs.image, inputs.sources[name], model, inputs.configs.decode)


def _make_finetuned(name: str, inputs: TierInputs) -> Tier:
    source = inputs.sources.get(name)
    if source is None:
        raise ConfigError(f"{name} comes with the bundle of an unfrozen model: use jobs/predict.py")
    return FINETUNED[name.removeprefix(FINETUNED_PREFIX)](inputs.configs.finetuned, source)


TIERS: dict[str, Callable[[TierInputs], Tier]] = {
    "raw": _make_raw,
    "scene": _make_scene,
    "event": _make_event,
    **{name: partial(_make_scorer, name) for name in SCORERS},
    **{name: partial(_make_finetuned, name) for name in (f"{FINETUNED_PREFIX}{tier}" for tier in FINETUNED)},
}


def select_computed(names: Iterable[str]) -> list[str]:
    """Those of the tiers that are computed from videos, each once, the paper's own first.

    Args:
        names: names of tiers, among them perhaps the similarity tier and user-provided ones.
    """
    wanted = dict.fromkeys(names)
    return [*(name for name in TIERS if name in wanted), *(name for name in wanted if name.startswith(_PREFIXES))]


def check_names(names: Sequence[str], also: Sequence[str] = ()) -> None:
    """Check that every tier can be computed or is provided.

    Args:
        names: names of tiers that a job asks for.
        also: names that are allowed although nothing computes them, such as user-provided tiers.
    Raises:
        ConfigError: If a name is neither a tier, a model of torchvision nor one of `also`.
    """
    unknown = [name for name in names if name not in {*select_computed(names), *also}]
    if unknown:
        choices = [name for name in TIERS if not name.startswith(FINETUNED_PREFIX)]
        raise ConfigError(
            f"unknown tier {', '.join(unknown)}: choose from {', '.join((*choices, *also))}, torchvision:NAME, "
            "timm:NAME, clip:NAME"
        )
    for name in names:
        if name.startswith(PREFIX):
            check_model(name.removeprefix(PREFIX))


def make_tiers(names: Sequence[str], inputs: TierInputs) -> list[Tier]:
    """Make the tiers that are computed from videos.

    Args:
        names: names of tiers, in any order; one that is named twice is made once.
        inputs: settings, weights and HOG's PCA.
    Returns:
        The tiers, the paper's own first; their networks are not loaded yet.
    Raises:
        ConfigError: If a tier is unknown, or lacks what it is made from.
    """
    check_names(names)
    return [_find_maker(name)(inputs) for name in select_computed(names)]


def _find_maker(name: str) -> Callable[[TierInputs], Tier]:
    if name in TIERS:
        return TIERS[name]
    return partial(_make_torchvision if name.startswith(PREFIX) else _make_library_tier, name)


def resolve_precision(configs: TierConfigs, *, bfloat16: bool) -> TierConfigs:
    """Settings in which every precision `auto` is replaced by the one to compute in.

    It is decided once for all nodes, since it is part of the fingerprint.

    Args:
        configs: settings of every tier.
        bfloat16: whether all devices that the networks will run on have units for bfloat16.
    """
    precision: Precision = "bfloat16" if bfloat16 else "float32"
    changed = {
        name: replace(getattr(configs, name), precision=precision)
        for name in ("scene", "event", "vision", "image")
        if getattr(configs, name).precision == "auto"
    }
    return replace(configs, **changed)
