"""Choosing hidden layers, regularisation and epochs on parts of the train split, for tiers of unknown strength.

The paper's settings suit thousands of columns of pooled networks. On a few weak columns (captions, tags, audio) a
network of their size learns the noise, and on a few strong ones a small network misses what there is. So each candidate
is trained on four fifths of the train split and judged on the rest, three times over; val is never seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from m3ray.config import TrainConfig
from m3ray.features.dataset import StudyData
from m3ray.training.stacked import train_runs

SPLITS, PART = 3, 5  # how often, and the share (a fifth) held out
_FEWEST = 20  # clips: below, a fifth of them ranks nothing


@dataclass(frozen=True)
class Candidate:
    """Settings and how they did on what was held out.

    Args:
        config: as they were tried.
        curve: Spearman after each epoch, mean over the splits.
    """

    config: TrainConfig
    curve: np.ndarray

    @property
    def best(self) -> float:
        return float(self.curve.max())

    @property
    def chosen(self) -> TrainConfig:
        """The settings, stopped at their best epoch."""
        return replace(self.config, epochs=int(self.curve.argmax()) + 1)


def candidates(base: TrainConfig) -> dict[str, TrainConfig]:
    """What is tried, from the paper's settings to a linear model with the shrinkage of a ridge regression."""
    return {
        "as given": base,
        "strong decay": replace(base, weight_decay=1e-3),
        "one layer of 64": replace(base, hidden=(64,)),
        "one layer of 64, strong decay": replace(base, hidden=(64,), weight_decay=1e-3),
        "linear": replace(base, hidden=(), weight_decay=1e-3),
        "linear, strong decay": replace(base, hidden=(), weight_decay=1e-2),
        "linear, stronger decay": replace(base, hidden=(), weight_decay=3e-2),
        # With a few hundred clips an epoch has too few steps for the learning rate of thousands.
        "linear, fast": replace(base, hidden=(), weight_decay=1e-3, learning_rate=1e-2),
        "linear, fast, strong decay": replace(base, hidden=(), weight_decay=1e-2, learning_rate=1e-2),
    }


def can_select(data: StudyData) -> bool:
    """Whether the train split is large enough to hold a part of it out."""
    return len(data.train) >= _FEWEST


def judged(data: StudyData, columns: np.ndarray, config: TrainConfig, seed: int) -> Candidate:
    """Trains a candidate on each part and judges it on what was held out.

    Args:
        data: of it the train rows alone are looked at.
        columns: positions that the variant sees.
        config: the candidate.
        seed: of the parts and the first run.
    """
    order = np.random.default_rng(seed).permutation(data.train)
    curves = []
    for k in range(SPLITS):
        held = order[k::PART]
        kept = np.setdiff1d(order, held)
        parts = [_tensors(data, columns, rows) for rows in (kept, held)]
        trained = train_runs(parts[0], parts[1], config, [seed + k])
        curves.append(trained.metrics["spearman"][0])
    # A constant model ranks nothing: the worst there is, not an undefined one.
    return Candidate(config, np.nan_to_num(np.stack(curves), nan=-1.0).mean(axis=0))


def best_of(found: Mapping[str, Candidate]) -> str:
    """The name of the candidate whose best epoch is best."""
    return max(found, key=lambda name: found[name].best)


def _tensors(data: StudyData, columns: np.ndarray, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    matrix = np.ascontiguousarray(data.scaled[rows][:, columns])
    return torch.from_numpy(matrix), torch.from_numpy(data.scores[rows].copy())
