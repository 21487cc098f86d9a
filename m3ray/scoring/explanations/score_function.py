"""From the tiers' values of versions of a clip to the scores of each run of a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from m3ray.features.matrix import Features
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.pretrained_bundle import PretrainedBundle

if TYPE_CHECKING:
    from m3ray.scoring.scorer import Scorer, Values


class ScoreFunction:
    """Scores versions of one clip with each run of a bundle.

    Args:
        scorer: opened bundle.
        provided: `tier/column` to the clip's values of user-provided tiers, (1,) or (1, width), which stay as they are.
    """

    def __init__(self, scorer: Scorer, provided: Mapping[str, np.ndarray]) -> None:
        self._scorer, self.provided = scorer, provided

    def select(self, rows: Sequence[Values], ids: Sequence[str]) -> Features:
        """Select what the bundle's model sees of versions.

        Args:
            rows: tiers of each of V versions, name to name to value.
            ids: their names.
        Returns:
            The matrix, (V, F).
        """
        same = {name: np.repeat(values, len(rows), axis=0) for name, values in self.provided.items()}
        return self._scorer.select_columns(rows, ids, same)

    def __call__(self, rows: Sequence[Values]) -> np.ndarray:
        """Score versions.

        Args:
            rows: tiers of each of V versions, name to name to value.
        Returns:
            Scores in the target's units, (R, V), float64; R = 1 for a pretrained scorer.
        """
        features = self.select(rows, [str(k) for k in range(len(rows))])
        bundle = self._scorer.bundle
        if isinstance(bundle, PretrainedBundle):
            return features.values[:, 0].astype(np.float64)[None]
        assert isinstance(bundle, Bundle)
        return bundle._predict(bundle.scaling(features.values).astype(np.float32))
