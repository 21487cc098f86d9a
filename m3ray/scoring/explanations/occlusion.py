"""Maps by occlusion: parts of a clip are hidden, and what they add is what the score loses.

The search hides each part once. What is left of the budget goes to those that matter, hidden again with their borders
elsewhere: the others would only be found to matter little once more.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from m3ray.config.explain_options import ExplainConfig
from m3ray.scoring.explanations.clip_view import ClipView
from m3ray.scoring.explanations.evaluator import Evaluator
from m3ray.scoring.explanations.explanation import Cell
from m3ray.scoring.explanations.hiding import Cover, cover_part
from m3ray.scoring.explanations.parts import Grid, Part, count_repeats, count_seen, cut_part

Progress = Callable[[int, int], None]
_AT_ONCE = 8  # versions that are scored together: networks are faster in batches, and progress is still told
_TOGETHER = 0.7  # parts whose effect is this share of the largest are cut in one round


class OcclusionSearch:
    """Hides the parts of a grid, then cuts those that matter, while the budget lasts.

    Args:
        view: the clip.
        evaluator: scores versions of it.
        config: budget and seeds.
        progress: called with the versions that are scored and with the budget; None: nobody looks.
    """

    def __init__(
        self, view: ClipView, evaluator: Evaluator, config: ExplainConfig, progress: Progress | None = None
    ) -> None:
        self._view, self._evaluator, self._config, self._progress = view, evaluator, config, progress
        self.evaluations = 0
        self._effects: dict[Part, np.ndarray] = {}  # of each part by runs and covers, (R, V)

    def run(self, grid: Grid) -> list[Cell]:
        """Map the clip.

        Args:
            grid: the parts to begin with.
        Returns:
            Parts that together are the clip, and what each adds, in the order of time and place.
        """
        cells = self._search(grid)
        again = {cell.part: cell for cell in self._repeat(cells)}
        cells = [again.get(cell.part, cell) for cell in cells]
        return sorted(cells, key=lambda cell: (cell.part.start, cell.part.top, cell.part.left, cell.part.stop))

    def _search(self, grid: Grid) -> list[Cell]:
        """Hide each part once, and cut those that matter."""
        done: list[Cell] = []
        open_cells = self._measure(grid.lay_parts(self._view.seen))
        while open_cells:
            chosen, open_cells = self._choose(open_cells)
            pieces = [(cell, cut_part(cell.part, self._view.seen)) for cell in chosen]
            fitting: list[Part] = []
            for cell, parts in pieces:
                if parts and cell.effect != 0 and self._count(fitting + parts) <= self._left:
                    fitting += parts
                else:
                    done.append(cell)
            open_cells += self._measure(fitting)
        return done

    def _repeat(self, cells: Sequence[Cell]) -> list[Cell]:
        """Hide the parts that matter again, with their borders elsewhere, while the budget lasts."""
        more, left = self._config.seeds - 1, self._config.budget - self.evaluations
        chosen = [cell.part for cell in order_by_weight(cells) if cell.effect and self._has_borders(cell.part)]
        chosen = chosen[: left // more] if more else []
        # An even number in all, of which the last may be left out: then each border moves.
        return self._hide([(part, [self._cover(part, k, more + more % 2) for k in range(more)]) for part in chosen])

    def _choose(self, cells: Sequence[Cell]) -> tuple[list[Cell], list[Cell]]:
        """Those with the largest effects, and the others."""
        most = max(abs(cell.effect) for cell in cells)
        chosen = [cell for cell in cells if abs(cell.effect) >= _TOGETHER * most]
        ordered = heapq.nlargest(len(chosen), chosen, key=lambda cell: abs(cell.effect))
        return ordered, [cell for cell in cells if abs(cell.effect) < _TOGETHER * most]

    @property
    def _left(self) -> int:
        """Versions that the search may still score."""
        return self._config.budget - count_repeats(self._config) - self.evaluations

    def _count(self, parts: Sequence[Part]) -> int:
        return sum(count_seen(part, self._view.seen) > 0 for part in parts)

    def _has_borders(self, part: Part) -> bool:
        """Whether it has borders that could be elsewhere: whole frames have none where single ones are looked at."""
        return part.area < 1 or (self._view.sees_every_frame and part.stop - part.start < self._view.frames)

    def _measure(self, parts: Sequence[Part]) -> list[Cell]:
        """Hide each part; what nothing looks at adds nothing, without a try."""
        seen = [part for part in parts if count_seen(part, self._view.seen)]
        unseen = [Cell(part, 0.0, *self._no_doubt()) for part in parts if not count_seen(part, self._view.seen)]
        return [*self._hide([(part, [self._cover(part, 0, 1)]) for part in seen]), *unseen]

    def _no_doubt(self) -> tuple[float, float]:
        nan = float("nan")
        return (0.0 if len(self._evaluator.as_it_is) > 1 else nan), (0.0 if self._config.seeds > 1 else nan)

    def _hide(self, parts: Sequence[tuple[Part, Sequence[Cover]]]) -> list[Cell]:
        """Hide parts by some covers each; an effect is the mean over these and over those of before."""
        covers = [(part, cover) for part, covers in parts for cover in covers]
        for first in range(0, len(covers), _AT_ONCE):
            some = covers[first : first + _AT_ONCE]
            scores = self._evaluator.evaluate([cover for _, cover in some])
            for (part, _), score in zip(some, scores.T, strict=True):
                effect = (self._evaluator.as_it_is - score)[:, None]
                before = self._effects.get(part)
                self._effects[part] = effect if before is None else np.concatenate([before, effect], axis=1)
            self.evaluations += len(some)
            if self._progress is not None:
                self._progress(self.evaluations, self._config.budget)
        return [self._make_cell(part) for part, _ in parts]

    def _make_cell(self, part: Part) -> Cell:
        effects = self._effects[part]
        return Cell(part, float(effects.mean()), _deviation(effects.mean(axis=1)), _deviation(effects.mean(axis=0)))

    def _cover(self, part: Part, seed: int, seeds: int) -> Cover:
        height, width = self._view.store.shape[:2]
        shape = (self._view.frames, height, width)
        return cover_part(part, shape, seed, seeds, every_frame=self._view.sees_every_frame)


def order_by_weight(cells: Sequence[Cell]) -> list[Cell]:
    """Order parts by what they weigh: one that adds, one that takes, and so on.

    Args:
        cells: parts, and what each adds.
    Returns:
        All of them; among those of one sign the strongest first.
    """
    adds = sorted((cell for cell in cells if cell.effect >= 0), key=lambda cell: -cell.effect)
    takes = sorted((cell for cell in cells if cell.effect < 0), key=lambda cell: cell.effect)
    pairs = itertools.zip_longest(adds, takes)
    return [cell for pair in pairs for cell in pair if cell is not None]


def _deviation(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")
