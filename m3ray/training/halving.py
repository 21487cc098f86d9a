"""Successive halving: all candidates are seen once, and the better ones again and again, within a budget."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from m3ray.config import TrainConfig
from m3ray.model import parameter_count
from m3ray.training.candidates import estimate_cost, estimate_plain, is_preset
from m3ray.training.contenders import Candidate
from m3ray.training.held_out import Curves
from m3ray.training.out_of_fold import FOLDS
from m3ray.training.stacked import stacking_key

logger = logging.getLogger(__name__)

BUDGET = 2.0  # plain trainings that all of a selection costs at most
# Few clips train in no time, and need repetition most: so many seconds of a core may be spent in any case.
_SHORTEST = 8.0
# A candidate whose fold costs more than this share of a plain training is first seen after so much of its epochs.
_DEAR, _FIRST_EPOCHS = 0.05, 0.3
# On a CPU a stack's weights and moments beyond this fall out of its cache.
_STACKED_WEIGHTS = 400_000


@dataclass(frozen=True)
class Fit:
    """Candidates to be trained as one model, and what is held out of it.

    Args:
        names: Names of the candidates.
        configs: Their settings.
        cut: Number of the cut of the train split into fifths, from 0.
        fold: The fifth that is held out, from 0.
    """

    names: tuple[str, ...]
    configs: tuple[TrainConfig, ...]
    cut: int
    fold: int


# Takes fits, and gives the curves of each one's candidates, in order.
ScoreFits = Callable[[Sequence[Fit]], Sequence[Sequence[Curves]]]


@dataclass(frozen=True)
class Rung:
    """A step of the race.

    Args:
        folds: Cut and fifth of each part that is held out.
        share: Share of all candidates that take it.
        budget: Plain trainings that may be spent by its end.
    """

    folds: tuple[tuple[int, int], ...]
    share: float
    budget: float


RUNGS = (
    Rung(((0, 0),), 1.0, np.inf),
    Rung(((0, 1), (0, 2)), 1 / 3, 1.7),
    Rung(((0, 3), (0, 4)), 1 / 5, 1.9),
    Rung(tuple((1, k) for k in range(FOLDS)), 1 / 8, BUDGET),
)


class Race:
    """The candidates, rung after rung: what they cost, and which are left.

    Args:
        configs: Name of each candidate to its settings.
        inputs: Number of features.
        clips: Number of train clips.
    """

    def __init__(self, configs: Mapping[str, TrainConfig], inputs: int, clips: int) -> None:
        self._configs, self._inputs = dict(configs), inputs
        self._clips = clips * (FOLDS - 1) // FOLDS
        self._plain = max(estimate_plain(inputs, clips), _SHORTEST / BUDGET)
        self._ranked = list(configs)
        self._first: dict[str, Candidate] = {}
        self.spent = 0.0  # plain trainings
        self.results: dict[str, Candidate] = {}  # of those that had all of their epochs

    def run(self, rung: Rung, score: ScoreFits) -> None:
        """Train those that take a rung, and rank them; nothing where there are not two that the budget has room for.

        Args:
            rung: The rung.
            score: What trains and scores.
        """
        start, is_first = time.perf_counter(), not self._first
        names = self._ranked if is_first else self._choose(rung)
        if len(names) < 2 and self.results:
            return  # nobody to race against, or no budget
        fits = self._make_fits(names, rung, is_first=is_first)
        self.spent += self._cost_of(fits)
        known = self._first if is_first else self.results
        for fit, curves in zip(fits, score(fits), strict=True):
            for name, curve in zip(fit.names, curves, strict=True):
                before = known.get(name, Candidate(name, self._configs[name]))
                known[name] = replace(before, curves={**before.curves, (fit.cut, fit.fold): curve})
        self._ranked = sorted(names, key=lambda name: -np.max(known[name].score))
        best = known[self._ranked[0]]
        logger.info(
            f"  {len(names)} settings on {len(rung.folds)} fifth{'s' * (len(rung.folds) > 1)} in "
            f"{time.perf_counter() - start:.1f} s; best so far {best.name}: score {np.max(best.score):.4f}"
        )

    def estimate_rest(self, rungs: Sequence[Rung], seconds: float) -> float:
        """Estimate how long the rest of a race takes: as if all candidates were alike, and within the budget.

        Args:
            rungs: The rungs that are left.
            seconds: Seconds that what was spent took.
        Returns:
            Seconds.
        """
        if not rungs:
            return 0.0
        once = self._cost_of(self._make_fits(list(self._configs), Rung(((0, 0),), 1.0, np.inf)))
        wanted = sum(rung.share * len(rung.folds) * once for rung in rungs)
        return max(0.0, min(wanted, max(rung.budget for rung in rungs) - self.spent)) * seconds / self.spent

    def _choose(self, rung: Rung) -> list[str]:
        """Those that take a rung: the best share of all; after the first one the paper's and the best of each shape."""
        wanted = self._ranked[: max(2, round(len(self._configs) * rung.share))]
        chosen: list[str] = []
        if not self.results:
            preset = [name for name in self._ranked if is_preset(name)][:1]
            shapes = {self._configs[name].hidden: name for name in reversed(self._ranked)}
            wanted = list(dict.fromkeys([*wanted[:1], *shapes.values(), *wanted]))
            chosen = list(dict.fromkeys([*preset, wanted[0]]))
        for name in wanted:
            cost = self._cost_of(self._make_fits([*chosen, name], rung))
            if name not in chosen and self.spent + cost <= rung.budget:
                chosen.append(name)
        return chosen

    def _make_fits(self, names: Sequence[str], rung: Rung, *, is_first: bool = False) -> list[Fit]:
        """Fits of a rung: settings that can be trained as one model are, as many as stay in a core's cache."""
        stacks: dict[object, dict[str, TrainConfig]] = {}
        for name in names:
            config = self._shorten(self._configs[name]) if is_first else self._configs[name]
            stacks.setdefault(stacking_key(config), {})[name] = config
        parts = [part for stack in stacks.values() for part in self._cut_stack(stack)]
        parts.sort(key=lambda part: -self._cost(tuple(part.values())))  # so that the longest does not come last
        return [Fit(tuple(part), tuple(part.values()), *fold) for part in parts for fold in rung.folds]

    def _cut_stack(self, stack: Mapping[str, TrainConfig]) -> list[dict[str, TrainConfig]]:
        items = list(stack.items())
        size = max(1, _STACKED_WEIGHTS // parameter_count(self._inputs, items[0][1].hidden))
        return [dict(items[k : k + size]) for k in range(0, len(items), size)]

    def _shorten(self, config: TrainConfig) -> TrainConfig:
        """Settings as they are first seen: dear ones after some of their epochs, which the rest only go on from."""
        if self._cost((config,)) <= _DEAR or config.loss == "mse_to_spearman":
            return config
        return replace(config, epochs=max(1, round(config.epochs * _FIRST_EPOCHS)))

    def _cost_of(self, fits: Sequence[Fit]) -> float:
        return sum(self._cost(fit.configs) for fit in fits)

    def _cost(self, configs: Sequence[TrainConfig]) -> float:
        """Plain trainings that a stack of settings costs."""
        return estimate_cost(configs, self._inputs, self._clips) / self._plain
