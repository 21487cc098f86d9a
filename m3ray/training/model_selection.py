"""Selection of hidden layers, regularisation, loss and epochs on the train split alone, once for a root's tiers.

The paper's settings suit thousands of columns of pooled networks. On a few weak columns (captions, tags, audio) a
network of their size learns the noise, and on many weak ones nothing but strong decay helps. So candidates race: all
are trained on four fifths of the train split and scored on the rest, the better ones on further fifths, the last ones
on all of a second cut too (successive halving). Of those within one standard error of the best, the simplest is taken.
Val is never seen, and clips of one group are held out together.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from m3ray.config import TrainConfig
from m3ray.features.dataset import StudyData
from m3ray.training.candidates import is_preset
from m3ray.training.contenders import Candidate, choose_simplest, compare
from m3ray.training.halving import RUNGS, Fit, Race, Rung, ScoreFits
from m3ray.training.held_out import Curves, score_held_out
from m3ray.training.out_of_fold import FOLDS, cut_train
from m3ray.training.parallel import train_side_by_side

logger = logging.getLogger(__name__)

VERSION = 1  # of what is chosen from given data and candidates
_MIN_CLIPS = 20  # a fifth of fewer clips ranks nothing


@dataclass(frozen=True)
class Selection:
    """What was selected, and among what.

    Args:
        chosen: Name of the chosen candidate.
        candidates: Name to candidate, of those that had all of their epochs; most held-out parts first.
        tried: Number of candidates at the start.
        preset: Name of the paper's settings that the choice is compared with; None: they were none of the candidates.
        cost: Plain trainings that it cost, as computed.
        seconds: Seconds that it took.
    """

    chosen: str
    candidates: Mapping[str, Candidate]
    tried: int
    preset: str | None
    cost: float
    seconds: float

    @property
    def training(self) -> TrainConfig:
        """The chosen settings."""
        return self.candidates[self.chosen].training

    @property
    def gain(self) -> tuple[float, float] | None:
        """Gain in score over the paper's settings, each with its best epochs, and its standard error; None without."""
        if self.preset is None:
            return None
        preset, chosen = self.candidates[self.preset], self.candidates[self.chosen]
        return compare(chosen, chosen.epochs, preset, preset.epochs)

    @property
    def beats_preset(self) -> bool | None:
        """Whether the choice is better than the paper's settings by more than one standard error; None: unknown."""
        return None if self.gain is None else self.gain[0] > self.gain[1]


def can_select(data: StudyData) -> bool:
    """Whether the train split is large enough to hold a part of it out, and its groups are enough for the parts.

    Args:
        data: Data of the study.
    """
    groups = FOLDS if data.groups is None else len(np.unique(data.groups[data.train]))
    return len(data.train) >= _MIN_CLIPS and groups >= FOLDS


def select_settings(
    data: StudyData,
    columns: np.ndarray,
    candidates: Mapping[str, TrainConfig],
    seed: int = 0,
    score: ScoreFits | None = None,
    rungs: Sequence[Rung] = RUNGS,
) -> Selection:
    """Select the settings that do best on held-out parts of the train split.

    Args:
        data: Data of the study, of which only the train rows are used; enough of them (`can_select`).
        columns: Positions of the columns that the model sees.
        candidates: Name to settings, as `make_candidates` gives them.
        seed: Seed of the cuts and of the runs.
        score: What trains and scores; None: this process, on PyTorch's threads.
        rungs: The steps of the race.
    Returns:
        The choice, with the candidates that it was made among.
    """
    start = time.perf_counter()
    score = score or partial(_score_here, data, columns, seed)
    race = Race(candidates, len(columns), len(data.train))
    for k, rung in enumerate(rungs):
        race.run(rung, score)
        if rest := race.estimate_rest(rungs[k + 1 :], time.perf_counter() - start):
            logger.info(f"  about {rest:.0f} s to go")
    return _select(race, candidates, len(columns), time.perf_counter() - start)


def _select(race: Race, configs: Mapping[str, TrainConfig], inputs: int, seconds: float) -> Selection:
    """Choose among those that were held out most often."""
    ranked = sorted(race.results.values(), key=lambda c: (-len(c.curves), -c.best_score))
    finalists = [c for c in ranked if len(c.curves) == len(ranked[0].curves)]
    preset = next((c.name for c in ranked if is_preset(c.name)), None)
    chosen = choose_simplest(finalists, inputs)
    return Selection(chosen, {c.name: c for c in ranked}, len(configs), preset, race.spent, seconds)


def score_fit(data: StudyData, columns: np.ndarray, seed: int, fit: Fit) -> list[Curves]:
    """Train candidates without one part of the train split, and score them on it.

    Args:
        data: Data of the study.
        columns: Positions of the columns that the model sees.
        seed: Seed of the cuts and of the runs.
        fit: The candidates, and what is held out.
    Returns:
        The curves of each.
    """
    held_out = cut_train(data, seed + fit.cut) == fit.fold
    return score_held_out(data, columns, fit.configs, seed + FOLDS * fit.cut + fit.fold, held_out)


def _score_here(data: StudyData, columns: np.ndarray, seed: int, fits: Sequence[Fit]) -> list[list[Curves]]:
    return train_side_by_side(lambda fit: score_fit(data, columns, seed, fit), fits, torch.get_num_threads())
