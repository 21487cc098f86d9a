"""One table of benchmarks/tabular.py: columns, scores, where they are from, and how they are split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m3ray.features.dataset import StudyData
from m3ray.features.matrix import Block, Features


@dataclass(frozen=True)
class Table:
    """Rows of clips and their scores in [0, 1].

    Args:
        rows: Columns of N clips, (N, F).
        scores: Scores, (N,).
        blocks: Tiers of the columns.
        source: Where it is from, or its formula, in a few words.
        groups: Number of each clip's source, (N,), int64, of which train and val share none; None: each is its own.
        train: Number of train clips; None: four fifths.
    """

    rows: np.ndarray
    scores: np.ndarray
    blocks: tuple[Block, ...]
    source: str
    groups: np.ndarray | None = None
    train: int | None = None

    def split(self, seed: int) -> StudyData:
        """Draw train and val, and scale with the train split's statistics.

        Args:
            seed: Seed of the draw.
        Returns:
            The data that a study would have.
        """
        groups = np.arange(len(self.rows)) if self.groups is None else self.groups
        names, place = np.unique(groups, return_inverse=True)
        share = 0.8 if self.train is None else self.train / len(self.rows)
        # Groups in random order, each with its place; the first of them are trained on.
        order = np.random.default_rng(seed).permutation(len(names))
        splits = np.where(order[place] < round(share * len(names)), "train", "val")
        features = Features(tuple(map(str, range(len(self.rows)))), self.rows.astype(np.float32), self.blocks)
        return StudyData.make(features, self.scores, splits.tolist(), groups=self.groups)


def make_columns(width: int, tier: str = "own") -> tuple[Block, ...]:
    """A tier of columns of many kinds, each standardised on its own."""
    return (Block(tier, tuple(f"{tier}_{k}" for k in range(width)), scaled=True),)


def make_vector(width: int, tier: str = "own") -> tuple[Block, ...]:
    """A tier that a user brings as one vector, scaled as a whole."""
    return (Block(tier, tuple(f"{tier}_{k}" for k in range(width)), scaled=True, vectors=(width,)),)
