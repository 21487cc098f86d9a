"""Bundles with a train reference, of drawn features, for tests of neighbours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from made_bundles import make_bundle

from m3ray.features.matrix import Block, Features
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.reference.reference_file import ReferenceFile
from m3ray.scoring.reference.train_reference import make_reference

BLOCKS = (
    Block("raw", tuple(f"raw_{k}" for k in range(6)), True),
    Block("scene", tuple(f"scene_{k}" for k in range(80)), False),
)
TRAINED_ON = {"train_clips": 300.0, "lowest_score": 0.2, "highest_score": 0.9}


def draw_features(rows: int, seed: int, shift: float = 0.0, prefix: str = "new") -> Features:
    """Correlated features as networks give them; a shift is in standard deviations of each column."""
    mixing = np.random.default_rng(1000).standard_normal((12, 86))
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, 12)) @ mixing + 0.5 * rng.standard_normal((rows, 86))
    signs = np.sign(np.random.default_rng(2000).standard_normal(86))
    values += shift * signs * np.sqrt((mixing**2).sum(axis=0) + 0.25)
    return Features(tuple(f"{prefix}{k}" for k in range(rows)), values.astype(np.float32), BLOCKS)


def make_compared_bundle(train: Features, scores: np.ndarray | None = None) -> Bundle:
    """A bundle that nothing was trained for, with these train clips."""
    bundle = make_bundle(BLOCKS, trained_on=TRAINED_ON)
    scores = np.linspace(0.2, 0.9, len(train.clip_ids)) if scores is None else scores
    reference = make_reference(train.clip_ids, train.values, BLOCKS, scores, bundle.model)
    return replace(bundle, reference=ReferenceFile(reference.to_bytes()))
