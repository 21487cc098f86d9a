"""What each tier adds to a score: exact Shapley values over tiers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from m3ray.features.matrix import Block


def share_tiers(
    predict: Callable[[np.ndarray], np.ndarray], scaled: np.ndarray, baseline: np.ndarray, blocks: Sequence[Block]
) -> dict[str, np.ndarray]:
    """Share a score among the tiers; an absent tier shows the train split's mean.

    Args:
        predict: From scaled features, (N, F), float32, to the score of each clip, (N,).
        scaled: Scaled features of N clips, (N, F).
        baseline: The train split's mean of them, (F,).
        blocks: Columns of each tier, F in all.
    Returns:
        Name of each tier to its share of each clip's score, (N,); they sum to the score less that of the baseline.
    """
    count = len(blocks)
    coalition_scores = {
        members: predict(_mask_tiers(scaled, baseline, blocks, members))
        for size in range(count + 1)
        for members in itertools.combinations(range(count), size)
    }
    shares = {}
    for index, block in enumerate(blocks):
        total = np.zeros(len(scaled))
        for members, score in coalition_scores.items():
            if index in members:
                continue
            size = len(members)
            weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            total += weight * (coalition_scores[tuple(sorted((*members, index)))] - score)
        shares[block.tier] = total
    return shares


def _mask_tiers(
    scaled: np.ndarray, baseline: np.ndarray, blocks: Sequence[Block], members: Sequence[int]
) -> np.ndarray:
    """The columns of these tiers as they are, those of the others at the baseline."""
    visible = np.concatenate([np.full(len(b.names), k in members) for k, b in enumerate(blocks)])
    return np.where(visible, scaled, baseline).astype(np.float32)
