"""Locations of the weights that a finetuning starts from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from m3ray.errors import BundleError, ConfigError
from m3ray.scoring.bundle_metadata import BUNDLE_FILE, read_manifest
from m3ray.storage.root import Root
from m3ray.storage.tier_index import read_tier_index
from m3ray.study.finetuned_trial import NETWORKS
from m3ray.tiers.network import WeightSource


def find_weights(root: Root, tiers: tuple[str, ...], sources: Mapping[str, WeightSource]) -> dict[str, WeightSource]:
    """Find the weights that a root's features were made with.

    Args:
        root: Root with the features.
        tiers: Names of the tiers that the model sees.
        sources: Name of each tier to where the job knows its weights to be.
    Returns:
        Name of each network among the tiers to where its weights are.
    Raises:
        ConfigError: If neither the job nor a bundle of the root names the weights' file.
    """
    index, weights = read_tier_index(root), {}
    for tier in (name for name in NETWORKS if name in tiers):
        identity = index[tier].weights
        if "untrained_seed" in identity:
            weights[tier] = WeightSource(seed=identity["untrained_seed"])
            continue
        candidates = [source for name, source in (*sources.items(), *_read_bundle_sources(root)) if name == tier]
        matching = [source for source in candidates if source.sha256 == identity["sha256"]]
        if not matching:
            raise ConfigError(
                f"--unfrozen: no bundle of {root.uri} names the weights that its {tier} features were made with "
                f"(SHA-256 {identity['sha256'][:16]}): run jobs/reproduce.py or jobs/train.py with their --weights"
            )
        weights[tier] = matching[0]
    return weights


def _read_bundle_sources(root: Root) -> list[tuple[str, WeightSource]]:
    """Tier and weights of every network that a bundle of the root names."""
    names = [name for name in root.list_names("models") if root.exists("models", name, BUNDLE_FILE)]
    sources = []
    for name in names:
        with suppress(BundleError):  # a bundle that cannot be read names no weights, and another may
            metadata = read_manifest(root.subroot("models", name)).metadata
            sources += [(tier, WeightSource(**entry)) for tier, entry in metadata.sources.items()]
    return sources
