"""Which weights a job uses: published files, a user's own, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from m3ray.config import TierConfigs
from m3ray.config.presets import PUBLISHED
from m3ray.errors import ConfigError, WeightsError
from m3ray.storage.weights_file import read_weights_file
from m3ray.tiers.backbones import fetch, sha256_of
from m3ray.tiers.network import WeightSource
from m3ray.tiers.torchvision_tier import PREFIX, published

# Up to here a job may be a trial, and untrained features are better than none, if they say so.
TRIAL_CLIPS = 1_000
WITH_WEIGHTS = ("scene", "event")


def weight_sources(
    choice: str, tiers: Sequence[str], configs: TierConfigs, *, clips: int, demo: bool = False, seed: int = 0
) -> dict[str, WeightSource]:
    """The weights of each tier that has some, fetched and hashed.

    Args:
        choice: `published`, `untrained`, `auto`, or a JSON file that maps tier to `{"path": ..., "sha256": ...}`.
        tiers: names of the tiers asked for.
        configs: tells which CSN.
        clips: how many clips; `auto` falls back to untrained for up to `TRIAL_CLIPS`.
        demo: whether they are demo clips, for which `auto` is untrained.
        seed: of untrained weights.
    Raises:
        WeightsError: a file is missing, cannot be fetched or has another hash.
        ConfigError: the JSON file is none, or misses a tier.
    """
    names = [name for name in tiers if name in WITH_WEIGHTS or name.startswith(PREFIX)]
    untrained = {name: WeightSource(seed=seed) for name in names}
    if not names or choice == "untrained" or (choice == "auto" and demo):
        return untrained
    if choice not in ("published", "auto"):
        return {name: pinned(source) for name, source in _from_file(choice, names).items()}
    try:
        return {name: pinned(WeightSource(_address(name, configs))) for name in names}
    except WeightsError:
        if choice == "published" or clips > TRIAL_CLIPS:
            raise
        return untrained


def pinned(source: WeightSource) -> WeightSource:
    """`source` with its file fetched, checked, and its hash known."""
    if source.location is None:
        return source
    return replace(source, sha256=sha256_of(fetch(source.location, source.sha256)))


def _address(tier: str, configs: TierConfigs) -> str:
    if tier.startswith(PREFIX):
        return published(tier.removeprefix(PREFIX))
    return PUBLISHED[f"event:{configs.event.network}" if tier == "event" else tier]


def _from_file(choice: str, names: Sequence[str]) -> dict[str, WeightSource]:
    path, listed = read_weights_file(choice)
    missing = [name for name in names if name not in listed]
    if missing:
        raise ConfigError(f"--weights {path} names no weights for {', '.join(missing)}; it has {', '.join(listed)}")
    return {name: _source(listed[name], name, path) for name in names}


def _source(entry: object, name: str, file: Path) -> WeightSource:
    if isinstance(entry, str):
        entry = {"path": entry}
    if not isinstance(entry, Mapping) or not ({"path", "url"} & set(entry)):
        raise ConfigError(f'{file}: {name} is {entry!r}; expected a path, or {{"path": ..., "sha256": ...}}')
    location = str(entry.get("path") or entry.get("url"))
    if "://" not in location:
        location = str((file.parent / Path(location).expanduser()).absolute())
    return WeightSource(location, entry.get("sha256"))
