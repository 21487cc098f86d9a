"""Where the weights lie that a finetuning starts from."""

from __future__ import annotations

from collections.abc import Mapping

from m3ray.errors import ConfigError
from m3ray.storage.root import Root
from m3ray.storage.tier_index import current_tiers
from m3ray.study.finetuned_trial import NETWORKS
from m3ray.tiers.network import WeightSource


def weights_of(root: Root, tiers: tuple[str, ...], given: Mapping[str, WeightSource]) -> dict[str, WeightSource]:
    """Where the weights lie that the root's features were made with.

    Args:
        root: its features.
        tiers: that the model sees.
        given: sources that the job knows.
    Raises:
        ConfigError: a file that nothing here names any more.
    """
    current, found = current_tiers(root), {}
    for tier in (name for name in NETWORKS if name in tiers):
        known = current[tier]["identity"]["weights"]
        if "untrained_seed" in known:
            found[tier] = WeightSource(seed=known["untrained_seed"])
            continue
        candidates = [source for name, source in (*given.items(), *_of_bundles(root)) if name == tier]
        matching = [source for source in candidates if source.sha256 == known["sha256"]]
        if not matching:
            raise ConfigError(
                f"--unfrozen: no bundle of {root.uri} names the weights that its {tier} features were made with "
                f"(SHA-256 {known['sha256'][:16]}): run jobs/reproduce.py or jobs/train.py with their --weights"
            )
        found[tier] = matching[0]
    return found


def _of_bundles(root: Root) -> list[tuple[str, WeightSource]]:
    facts = [
        root.read_json("models", n, "bundle.json")
        for n in root.names("models")
        if root.exists("models", n, "bundle.json")
    ]
    return [(tier, WeightSource(**entry)) for known in facts for tier, entry in known["sources"].items()]
