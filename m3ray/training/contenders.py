"""Candidates with what they reached on held-out parts of the train split, and which of them is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from m3ray.config import TrainConfig
from m3ray.training.candidates import simplicity
from m3ray.training.held_out import Curves

_MOST_LOST = 0.01  # of the score


@dataclass(frozen=True)
class Candidate:
    """Settings and how they did on held-out parts of the train split.

    Args:
        name: Name of the settings.
        config: The settings.
        curves: Cut and fifth of each part that was held out to the curves on it, all of one length.
    """

    name: str
    config: TrainConfig
    curves: Mapping[tuple[int, int], Curves] = field(default_factory=dict)

    @property
    def score(self) -> np.ndarray:
        """Mean score over the parts, after each epoch, (E,)."""
        return np.mean([curves.score for curves in self.curves.values()], axis=0)

    @property
    def epochs(self) -> int:
        """The number of epochs that is best; all where the loss depends on how many there are."""
        return self.config.epochs if self.config.loss == "mse_to_spearman" else int(self.score.argmax()) + 1

    @property
    def best_score(self) -> float:
        """The score after that number of epochs."""
        return float(self.score[self.epochs - 1])

    @property
    def training(self) -> TrainConfig:
        """The settings with that number of epochs."""
        return replace(self.config, epochs=self.epochs)

    def measure(self, name: str, epochs: int | None = None) -> float:
        """A curve's value, mean over the parts, after the best or another number of epochs.

        Args:
            name: `spearman` or `mse`.
            epochs: Number of epochs; None: the best.
        """
        return float(np.mean([getattr(c, name)[(epochs or self.epochs) - 1] for c in self.curves.values()]))

    def at_folds(self, folds: Sequence[tuple[int, int]], epochs: int) -> np.ndarray:
        """Scores on some parts after a number of epochs, (K,)."""
        return np.array([self.curves[fold].score[epochs - 1] for fold in folds])


def choose_simplest(candidates: Sequence[Candidate], inputs: int) -> str:
    """Choose the simplest of the candidates that are within one standard error of the best, and within 0.01.

    The error is that of the difference to the best over the parts that were held out of both; of few clips it is so
    large that the simplest would win whatever it knows.

    Args:
        candidates: Candidates with curves on the same parts, the best first.
        inputs: Number of features.
    Returns:
        Name of the chosen one.
    """
    best = max(candidates, key=lambda c: c.best_score)
    near = []
    for candidate in candidates:
        loss, error = compare(best, best.epochs, candidate, candidate.epochs)
        if loss <= min(error, _MOST_LOST):
            near.append(candidate)
    return min(near, key=lambda c: simplicity(c.training, inputs)).name


def compare(one: Candidate, epochs: int, other: Candidate, other_epochs: int) -> tuple[float, float]:
    """Compare the scores of two candidates on the parts that were held out of both.

    Args:
        one: A candidate.
        epochs: Number of epochs that it is seen after.
        other: The one that it is compared with.
        other_epochs: Number of epochs that this is seen after.
    Returns:
        Mean difference, and its standard error: infinite where there is one part alone.
    """
    folds = [fold for fold in one.curves if fold in other.curves]
    gaps = one.at_folds(folds, epochs) - other.at_folds(folds, other_epochs)
    error = gaps.std(ddof=1) / np.sqrt(len(gaps)) if len(gaps) > 1 else np.inf
    return float(gaps.mean()), float(0.0 if one is other else error)
