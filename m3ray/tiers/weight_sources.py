"""The weights that a job's networks use: the published files, a user's own, or random ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

from m3ray.config import TierConfigs
from m3ray.config.presets import PUBLISHED
from m3ray.errors import ConfigError, WeightsError
from m3ray.storage.weights_file import read_weights_file
from m3ray.tiers.backbones import fetch, sha256_of
from m3ray.tiers.network import WeightSource
from m3ray.tiers.open_clip_tier import PREFIX as CLIP
from m3ray.tiers.open_clip_tier import clip_weights_urls
from m3ray.tiers.pretrained.facts import SCORERS
from m3ray.tiers.pretrained.weights import find_weights
from m3ray.tiers.timm_tier import PREFIX as TIMM
from m3ray.tiers.timm_tier import timm_weights_url
from m3ray.tiers.torchvision_tier import PREFIX, weights_url

# Up to this many clips a job may be a trial, for which untrained features are better than none, if they say so.
MAX_TRIAL_CLIPS = 1_000
NETWORK_TIERS = ("scene", "event")
LIBRARY_PREFIXES = (PREFIX, TIMM, CLIP)


def weight_sources(
    choice: str,
    tiers: Sequence[str],
    configs: TierConfigs,
    *,
    clips: int,
    demo: bool = False,
    seed: int = 0,
    allow_other: bool = False,
) -> dict[str, WeightSource]:
    """Find, download and hash the weights of a job's networks.

    Args:
        choice: `published`, `untrained`, `auto`, or a JSON file that maps tier to `{"path": ..., "sha256": ...}`.
        tiers: names of the job's tiers; those without a network are ignored.
        configs: settings of the tiers, of which the event tier's name the CSN variant.
        clips: number of clips of the job; `auto` falls back to untrained weights for at most `MAX_TRIAL_CLIPS`.
        demo: whether they are demo clips, for which `auto` is untrained.
        seed: seed of untrained weights.
        allow_other: whether a pretrained scorer's package may hold other weights than the published ones.
    Returns:
        Tier name to its weights.
    Raises:
        WeightsError: If a file is missing, cannot be downloaded or has another hash.
        ConfigError: If the JSON file cannot be read, or lacks a tier.
    """
    names = [name for name in tiers if name in NETWORK_TIERS or name.startswith(LIBRARY_PREFIXES)]
    # A scorer is nothing without its weights, and they are at hand: no choice but a file's own entry changes them.
    scorers = [name for name in tiers if name in SCORERS]
    if choice not in ("published", "auto", "untrained"):
        listed = {name: pin_weights(source) for name, source in _sources_of_file(choice, names, scorers).items()}
        return listed | _find_scorers([name for name in scorers if name not in listed], allow_other)
    packaged = _find_scorers(scorers, allow_other)
    untrained = {name: WeightSource(seed=seed) for name in names}
    if not names or choice == "untrained" or (choice == "auto" and demo):
        return packaged | untrained
    try:
        return packaged | {name: _pin_published(_preset_urls(name, configs)) for name in names}
    except WeightsError:
        if choice == "published" or clips > MAX_TRIAL_CLIPS:
            raise
        return packaged | untrained


def _find_scorers(names: Sequence[str], allow_other: bool) -> dict[str, WeightSource]:
    return {name: find_weights(name, allow_other=allow_other) for name in names}


def pin_weights(source: WeightSource) -> WeightSource:
    """Download the file of a weight source, check it, and note its hash.

    Args:
        source: weights to pin; untrained ones have no file, and are returned as they are.
    Raises:
        WeightsError: If the file is missing, cannot be downloaded or has another hash.
    """
    if source.location is None:
        return source
    return replace(source, sha256=sha256_of(fetch(source.location, source.sha256)))


def _pin_published(urls: Sequence[str]) -> WeightSource:
    """The first of the addresses that has a file."""
    for url in urls[:-1]:
        try:
            return pin_weights(WeightSource(url))
        except WeightsError as error:
            if getattr(error.__cause__, "code", None) != HTTPStatus.NOT_FOUND:
                raise
    return pin_weights(WeightSource(urls[-1]))


def _preset_urls(tier: str, configs: TierConfigs) -> list[str]:
    if tier.startswith(CLIP):
        return clip_weights_urls(tier.removeprefix(CLIP))
    for prefix, url_of in ((PREFIX, weights_url), (TIMM, timm_weights_url)):
        if tier.startswith(prefix):
            return [url_of(tier.removeprefix(prefix))]
    return [PUBLISHED[f"event:{configs.event.network}" if tier == "event" else tier]]


def _sources_of_file(choice: str, names: Sequence[str], optional: Sequence[str]) -> dict[str, WeightSource]:
    path, entries = read_weights_file(choice)
    missing = [name for name in names if name not in entries]
    if missing:
        raise ConfigError(f"--weights {path} names no weights for {', '.join(missing)}; it has {', '.join(entries)}")
    return {name: _parse_entry(entries[name], name, path) for name in (*names, *optional) if name in entries}


def _parse_entry(entry: object, name: str, file: Path) -> WeightSource:
    if isinstance(entry, str):
        entry = {"path": entry}
    if not isinstance(entry, Mapping) or not ({"path", "url"} & set(entry)):
        raise ConfigError(f'{file}: {name} is {entry!r}; expected a path, or {{"path": ..., "sha256": ...}}')
    location = str(entry.get("path") or entry.get("url"))
    if "://" not in location:
        location = str((file.parent / Path(location).expanduser()).absolute())
    return WeightSource(location, entry.get("sha256"))
