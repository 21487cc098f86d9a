"""Selection of hidden layers, regularisation and epochs on parts of the train split, for tiers of unknown strength.

The paper's settings suit thousands of columns of pooled networks. On a few weak columns (captions, tags, audio) a
network of their size learns the noise, and on a few strong ones a small network misses what there is. So each candidate
is trained on four fifths of the train split and scored on the rest, three times over; val is never seen. Clips of one
group are held out together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from m3ray.config import TrainConfig
from m3ray.features.dataset import StudyData
from m3ray.training.stacked import Split, train_runs

SPLITS, FOLDS = 3, 5  # each candidate is trained on 3 splits, with one of 5 folds of the train split held out
_MIN_CLIPS = 20  # a fifth of fewer clips ranks nothing


@dataclass(frozen=True)
class Candidate:
    """Training settings and their score on the clips that were held out.

    Args:
        config: The settings.
        curve: Spearman's rank correlation after each epoch, mean over the splits, (epochs,).
    """

    config: TrainConfig
    curve: np.ndarray

    @property
    def best_spearman(self) -> float:
        """Spearman's rank correlation of the best epoch."""
        return float(self.curve.max())

    @property
    def best_config(self) -> TrainConfig:
        """The settings, with as many epochs as the best one."""
        return replace(self.config, epochs=int(self.curve.argmax()) + 1)


def make_candidates(base: TrainConfig) -> dict[str, TrainConfig]:
    """The settings to try, from the paper's to a linear model with the shrinkage of a ridge regression.

    Args:
        base: Settings that the candidates vary.
    Returns:
        Name of each candidate to its settings.
    """
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
    """Whether the train split is large enough to hold a part of it out, and its groups are enough for the parts.

    Args:
        data: Data of the study.
    """
    groups = FOLDS if data.groups is None else len(np.unique(data.groups[data.train]))
    return len(data.train) >= _MIN_CLIPS and groups >= FOLDS


def score_candidate(data: StudyData, columns: np.ndarray, config: TrainConfig, seed: int) -> Candidate:
    """Train a candidate on parts of the train split and score it on what was held out.

    Args:
        data: Data of the study, of which only the train rows are used.
        columns: Positions of the columns that the variant sees.
        config: Settings of the candidate.
        seed: Seed of the parts and of the first run.
    Returns:
        The settings with their curve.
    """
    curves = []
    for k, held_out in enumerate(hold_out(data, seed)):
        fit_part, test_part = (_tensors(data, columns, rows) for rows in (np.setdiff1d(data.train, held_out), held_out))
        curves.append(train_runs(fit_part, test_part, config, [seed + k]).metrics["spearman"][0])
    # A constant model ranks nothing: it counts as the worst correlation, so that the mean stays defined.
    return Candidate(config, np.nan_to_num(np.stack(curves), nan=-1.0).mean(axis=0))


def hold_out(data: StudyData, seed: int) -> list[np.ndarray]:
    """Draw the parts of the train split that are held out, one after the other.

    Args:
        data: Data of the study.
        seed: Seed of the parts.
    Returns:
        Rows of each part, about a fifth of the train split; a group's clips are all in one part.
    """
    order = np.random.default_rng(seed).permutation(data.train)
    if data.groups is None:
        return [order[k::FOLDS] for k in range(SPLITS)]
    _, first, inverse, sizes = np.unique(data.groups[order], return_index=True, return_inverse=True, return_counts=True)
    part_of, clips = np.empty(len(first), np.int64), np.zeros(FOLDS, np.int64)
    for group in np.argsort(first):  # in random order, each to the part with fewest clips
        part_of[group] = clips.argmin()
        clips[part_of[group]] += sizes[group]
    return [order[part_of[inverse] == k] for k in range(SPLITS)]


def best_candidate(candidates: Mapping[str, Candidate]) -> str:
    """Name of the candidate with the best epoch.

    Args:
        candidates: Name of each candidate to its score.
    Returns:
        The name; of equal ones the first.
    """
    return max(candidates, key=lambda name: candidates[name].best_spearman)


def _tensors(data: StudyData, columns: np.ndarray, rows: np.ndarray) -> Split:
    matrix = torch.from_numpy(np.ascontiguousarray(data.scaled[rows][:, columns]))
    scores = torch.from_numpy(data.target.to_unit(data.scores[rows]).copy())
    return matrix, scores, None if data.weights is None else torch.from_numpy(data.weights[rows])
