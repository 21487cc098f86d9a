"""A pretrained scorer as a tier: its score, the spread of that over frames, and its last hidden vector."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from m3ray.schema import vector
from m3ray.tiers.base import SPREAD, WeightedValue, WindowFeatures
from m3ray.tiers.image_network import ImageNetworkTier
from m3ray.tiers.network import Network
from m3ray.tiers.pretrained.facts import PretrainedScorer, find_scorer
from m3ray.tiers.pretrained.networks import DESIGNS, crop_frames


@dataclass
class ScorerTier(ImageNetworkTier):
    """What a pretrained scorer says of a clip: columns `resmem`, `resmem_spread` and `resmem_hidden`, say.

    The score is the mean over the frames that it looks at, the spread their standard deviation (0 for one frame), the
    hidden vector the mean of what its last layer sees.
    """

    @property
    def name(self) -> str:
        """The scorer's name."""
        return self.model

    @property
    def facts(self) -> PretrainedScorer:
        """What is known of the scorer."""
        return find_scorer(self.model)

    @property
    def width(self) -> int:
        """How many numbers its hidden vector has."""
        return self.facts.hidden

    @property
    def network(self) -> Network:
        """The network, not yet built."""
        assert self.config.precision != "auto", "precision is resolved before a tier is made"
        design, transform = DESIGNS[self.model], partial(crop_frames, crop=DESIGNS[self.model].crop)
        return Network(
            design.build,
            transform,
            self.source,
            self.config.precision,
            foldable=design.foldable,
            trial_size=design.crop,
            known=self.source.sha256 is not None and self.source.sha256 == self.facts.sha256,
        )

    @property
    def schema(self) -> pa.Schema:
        """The schema of its table: `clip_id`, score, spread and hidden vector."""
        columns = [(self.name, pa.float32()), (f"{self.name}{SPREAD}", pa.float32())]
        return pa.schema([("clip_id", pa.string()), *columns, (f"{self.name}_hidden", vector(self.width))])

    def summarise(self, vectors: np.ndarray) -> WindowFeatures:
        """Split the network's outputs into the tier's columns.

        Args:
            vectors: score and hidden vector of each frame, (T, 1 + hidden).
        Returns:
            Score, its spread and the hidden vector, weighted by T.
        """
        scores, count = vectors[:, 0].astype(np.float64), len(vectors)
        hidden = vectors[:, 1:].mean(axis=0, dtype=np.float64)
        return {
            self.name: WeightedValue(np.asarray(scores.mean()), count),
            f"{self.name}{SPREAD}": WeightedValue(np.asarray(scores.std()), count),
            f"{self.name}_hidden": WeightedValue(hidden, count),
        }

    def describe_input(self) -> str:
        """How frames become the network's input."""
        return f"middle {DESIGNS[self.model].crop} pixels of the frame, in [0, 1]"
