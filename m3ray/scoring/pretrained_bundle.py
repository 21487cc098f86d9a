"""A bundle without a fitted model: a network that was trained elsewhere gives the score itself.

Nothing here imports torch before a bundle is opened, so that a request is checked within a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from m3ray.errors import ConfigError, FeatureError
from m3ray.features.matrix import Block, Features
from m3ray.scoring.bundle_metadata import BundleManifest, BundleMetadata
from m3ray.tiers.pretrained.facts import SCORERS, PretrainedScorer, find_scorer

if TYPE_CHECKING:
    import pandas as pd

SEES = "images alone: no motion, no sound"
NOT_CALIBRATED = "no intervals: it was not calibrated here"


def is_pretrained(uri: str) -> bool:
    """Tell whether a bundle is named by a pretrained scorer, and is no folder.

    Args:
        uri: A bundle as a user names it; `./resmem` is a folder.
    Returns:
        Whether it is the bare name of a scorer.
    """
    return uri in SCORERS


@dataclass(frozen=True)
class PretrainedBundle:
    """A pretrained scorer as a bundle: the score is its tier's own column, and no model was fitted.

    Args:
        facts: What is known of the scorer.
        metadata: Settings of its tier, its weights, and what it predicts.
        files: Artefacts that tiers need: none.
        networks: Finetuned networks in the bundle's folder: none.
        uri: The bundle's folder: it has none.
    """

    facts: PretrainedScorer
    metadata: BundleMetadata
    files: Mapping[str, bytes] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    uri: str | None = None

    @property
    def name(self) -> str:
        """Name of the bundle, which is that of the scorer."""
        return self.facts.name

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Columns that the score is made of: the network's output, and its spread over frames."""
        return make_blocks(self.facts)

    @property
    def tiers(self) -> tuple[str, ...]:
        """Name of its one tier."""
        return (self.facts.name,)

    @property
    def untrained(self) -> bool:
        """Whether its weights are random: never, as they come with its package."""
        return self.metadata.untrained

    def score(self, features: Features, delay: tuple[float, float] | None = None) -> pd.DataFrame:
        """Score clips.

        Args:
            features: Features of N clips, columns in the order of `blocks`.
            delay: Must be None: the network knows no decay.
        Returns:
            A row a clip: `clip_id`, `score` (what the network gives), `spread` (its standard deviation over the frames
            that it looked at), `low` and `high` (NaN: it was not calibrated here).
        Raises:
            ConfigError: If there is a delay.
            FeatureError: If the columns are not those of the scorer's tier.
        """
        if delay is not None:
            raise ConfigError(no_delay(self.name))
        if features.blocks != self.blocks:
            got = ", ".join(f"{block.tier} ({len(block.names)})" for block in features.blocks)
            raise FeatureError(f"{self.name} sees {', '.join(self.blocks[0].names)}; got {got}")
        import pandas as pd  # imported with the first result: a bundle opens without it

        values = features.values.astype(np.float64)
        unknown = np.full(len(values), np.nan)
        columns = {"clip_id": list(features.clip_ids), "score": values[:, 0], "spread": values[:, 1]}
        return pd.DataFrame({**columns, "low": unknown, "high": unknown})

    def provenance(self) -> dict[str, Any]:
        """Where its scores come from, as JSON values: files of predictions carry them."""
        weights = self.metadata.sources.get(self.name, {})
        facts = {name: getattr(self.facts, name) for name in ("title", "predicts", "trained_on", "licence", "source")}
        return {"scorer": self.name, **facts, "weights": weights.get("sha256"), "sees": SEES, "calibrated": False}


def make_blocks(facts: PretrainedScorer) -> tuple[Block, ...]:
    """Name the columns of a pretrained scorer's tier that a score is made of.

    Args:
        facts: What is known of the scorer.
    Returns:
        One block of two columns.
    """
    return (Block(facts.name, (facts.name, f"{facts.name}_spread"), False),)


def make_manifest(name: str) -> BundleManifest:
    """Make what a `bundle.json` would hold of a pretrained scorer; it need not be installed.

    Args:
        name: Name of the scorer.
    Returns:
        The manifest.
    Raises:
        ConfigError: If there is no scorer of this name.
    """
    facts = find_scorer(name)
    return BundleManifest(name, BundleMetadata(False, target={"name": facts.predicts}), make_blocks(facts), {})


def load_pretrained(name: str, *, allow_other: bool = False) -> PretrainedBundle:
    """Open a pretrained scorer as a bundle.

    Args:
        name: Name of the scorer.
        allow_other: Whether weights of another hash than the published ones are taken.
    Returns:
        The bundle; its network is not loaded yet.
    Raises:
        ConfigError: If there is no scorer of this name, or its package is not installed.
        WeightsError: If its weights are other ones than published.
    """
    # Imported here: they import torch.
    from m3ray.config import TierConfigs
    from m3ray.tiers.factory import resolve_precision
    from m3ray.tiers.pretrained.weights import find_weights

    facts = find_scorer(name)
    source = find_weights(name, allow_other=allow_other)
    metadata = BundleMetadata(
        source.untrained,
        # One precision everywhere: a score must not depend on the machine that gives it.
        configs=resolve_precision(TierConfigs(), bfloat16=False),
        sources={name: asdict(source)},
        target={"name": facts.predicts},
    )
    return PretrainedBundle(facts, metadata)


def no_delay(name: str) -> str:
    """Say why a pretrained scorer gives no score after a delay.

    Args:
        name: Name of the scorer.
    Returns:
        A line.
    """
    return f"--delay: {name} was trained elsewhere, and knows no decay rates: leave out --delay"


def describe_provenance(provenance: Mapping[str, Any]) -> str:
    """Say in a line where the scores of a pretrained scorer come from, and what they are not.

    Args:
        provenance: What `PretrainedBundle.provenance` gave, or a file of predictions holds.
    Returns:
        A line for a log or a page.
    """
    predicts = "" if provenance["predicts"] == "score" else f"predicts {provenance['predicts']}; "
    return (
        f"{provenance['title']}, not trained here but on {provenance['trained_on']} ({provenance['source']}); "
        f"{predicts}it sees {provenance['sees']}; {NOT_CALIBRATED}; {provenance['licence']}"
    )
