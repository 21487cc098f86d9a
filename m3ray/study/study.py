"""A study on a root: the features that it is made on, its seeds, and the folders of its trials."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from m3ray.config import fingerprint
from m3ray.features.dataset import StudyData
from m3ray.features.load import StudyFeatures
from m3ray.storage.root import Root
from m3ray.study.variants import Variant

CODE_VERSION = 3


@dataclass(frozen=True)
class Study:
    """A study on a root.

    Args:
        root: Root that holds the features and gets the results.
        name: Name of the study's folder under `study/`.
        loaded: Features and scores that it is made on.
        seeds: Seed of each run.
    """

    root: Root
    name: str
    loaded: StudyFeatures
    seeds: tuple[int, ...]

    @property
    def data(self) -> StudyData:
        """The matrix, scores and splits that its trials share."""
        return self.loaded.data

    @property
    def folder(self) -> tuple[str, str]:
        """Folder of the study below the root."""
        return ("study", self.name)

    def trial_folder(self, variant: Variant) -> tuple[str, ...]:
        """Folder of a variant's results; its name has a fingerprint of all that they depend on.

        Args:
            variant: Variant of the study.
        Returns:
            The folder below the root.
        """
        slug = re.sub(r"[^a-z0-9]+", "-", variant.name.lower()).strip("-")
        if variant.finetuning is not None:
            variant = replace(variant, finetuning=variant.finetuning.outcome_settings())
        seen = {tier: self.loaded.folders[tier] for tier in variant.tiers if tier in self.loaded.folders}
        return (
            *self.folder,
            "parts",
            f"{slug}-{fingerprint(CODE_VERSION, variant, self.seeds, self.loaded.key, seen)}",
        )

    def splits_folder(self, variant: Variant, key: str) -> tuple[str, ...]:
        """Folder of a variant's results in further splits.

        Args:
            variant: Variant of the study.
            key: Hash of the splits.
        Returns:
            The folder below the root.
        """
        *above, name = self.trial_folder(variant)
        slug, _, own = name.rpartition("-")
        return (*above, f"{slug}-splits-{fingerprint(own, key)}")

    def similarity_folder(self, tier: str, key: str) -> tuple[str, ...]:
        """Folder of a similarity tier that was fitted anew in further splits.

        Args:
            tier: Name of the tier.
            key: Hash of the splits.
        Returns:
            The folder below the root.
        """
        slug = tier.replace(":", "-").replace("_", "-")
        own = fingerprint(CODE_VERSION, self.loaded.key, self.loaded.folders[tier], key)
        return (*self.folder, "parts", f"{slug}-splits-{own}")
