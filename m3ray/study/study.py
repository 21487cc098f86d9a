"""A study on a root: the data that it is made on, its seeds, where its parts lie."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from m3ray.config import fingerprint
from m3ray.features.dataset import StudyData
from m3ray.features.load import Loaded
from m3ray.storage.root import Root
from m3ray.study.variants import Variant

CODE_VERSION = 3


@dataclass(frozen=True)
class Study:
    """A study on a root.

    Args:
        root: holds the features, gets the results.
        name: under `study/`.
        loaded: what it is made on.
        seeds: one a run.
    """

    root: Root
    name: str
    loaded: Loaded
    seeds: tuple[int, ...]

    @property
    def data(self) -> StudyData:
        return self.loaded.data

    @property
    def folder(self) -> tuple[str, str]:
        return ("study", self.name)

    def part(self, variant: Variant) -> tuple[str, ...]:
        """Where a variant's results are kept; its name tells all that they depend on."""
        slug = re.sub(r"[^a-z0-9]+", "-", variant.name.lower()).strip("-")
        if variant.unfrozen is not None:
            variant = replace(variant, unfrozen=variant.unfrozen.deciding())
        seen = {tier: self.loaded.folders[tier] for tier in variant.tiers if tier in self.loaded.folders}
        return (
            *self.folder,
            "parts",
            f"{slug}-{fingerprint(CODE_VERSION, variant, self.seeds, self.loaded.key, seen)}",
        )
