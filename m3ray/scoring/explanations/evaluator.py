"""Scores of changed versions of a clip, of which no more is computed anew than a change touches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from m3ray.scoring.explanations.clip_view import ClipView
from m3ray.scoring.explanations.hiding import Cover
from m3ray.scoring.explanations.score_function import ScoreFunction
from m3ray.scoring.explanations.units import Unit
from m3ray.tiers.base import Tier, Window, WindowFeatures, average_windows

_ON_CPU, _ON_GPU = 16, 256  # frames of a batch: more take memory, and are no faster


class Evaluator:
    """Scores versions of a clip with parts hidden.

    Args:
        view: the clip.
        tiers: tiers that the bundle needs, set up.
        score: scores of the tiers' values.
        on_gpu: whether tiers are computed on a GPU, which takes larger batches.
    """

    def __init__(self, view: ClipView, tiers: Sequence[Tier], score: ScoreFunction, *, on_gpu: bool = False) -> None:
        self._view, self._tiers, self._score = view, tiers, score
        self._batch = _ON_GPU if on_gpu else _ON_CPU
        self._values = view.values
        self.as_it_is = score([self._values])[:, 0]
        """Score of the clip as it is by each run, (R,)."""

    def evaluate(self, covers: Sequence[Cover]) -> np.ndarray:
        """Score versions, each with one part hidden.

        Args:
            covers: what hides the part in each of V versions.
        Returns:
            Scores in the target's units, (R, V).
        """
        if not covers:
            return np.empty((len(self.as_it_is), 0))
        versions = [dict(self._values) for _ in covers]
        for tier in self._tiers:
            for k, values in self._compute(tier, covers):
                versions[k][tier.name] = values
        return self._score(versions)

    def _compute(self, tier: Tier, covers: Sequence[Cover]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """The versions that change a tier, and its values in each."""
        units = self._view.units[tier.name]
        touched = {
            k: [n for n, unit in enumerate(units) if unit.is_touched(cover.start, cover.stop)]
            for k, cover in enumerate(covers)
        }
        windows = (self._hide(units[n], covers[k]) for k, numbers in touched.items() for n in numbers)
        computed = _compute_batches(tier, windows, self._batch)
        for k, numbers in touched.items():
            if numbers:
                found = list(self._view.found[tier.name])
                for n in numbers:
                    found[n] = next(computed)
                yield k, average_windows(found)

    def _hide(self, unit: Unit, cover: Cover) -> Window:
        store = self._view.store
        frames = store.read(unit.first, unit.stop)
        changed = cover.hide(frames, store.read_blurred(unit.first, unit.stop), unit.first)
        lead = changed[0] if unit.has_lead else None
        return replace(unit.window, frames=changed[unit.has_lead :], lead=lead)


def _compute_batches(tier: Tier, windows: Iterable[Window], most: int) -> Iterator[WindowFeatures]:
    """Compute windows, as many at once as `most` frames allow."""
    waiting = iter(windows)
    while first := list(islice(waiting, 1)):
        more = islice(waiting, max(0, most // max(1, len(first[0].frames)) - 1))
        yield from tier.compute([*first, *more])
