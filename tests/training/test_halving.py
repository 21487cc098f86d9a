"""Successive halving over candidates whose scores are known in advance."""

import numpy as np
import pytest

from m3ray.training.candidates import is_preset, make_candidates
from m3ray.training.halving import BUDGET, RUNGS, Race
from m3ray.training.held_out import Curves
from m3ray.training.stacked import stacking_key


class Scores:
    """Scores candidates by the width of their first layer, and notes who was trained how long on what."""

    def __init__(self, best=()):
        self.best, self.fits = best, []

    def __call__(self, fits):
        self.fits += fits
        return [[self._curves(config) for config in fit.configs] for fit in fits]

    def _curves(self, config):
        score = (0.6 if config.hidden == self.best else 0.4) - abs(np.log10(config.weight_decay) + 1) / 100
        rho = np.full(config.epochs, score)
        return Curves(rho, 1 - rho)


def race(clips, inputs, best=()):
    candidates, scores = make_candidates(clips), Scores(best)
    run = Race(candidates, inputs, clips)
    for rung in RUNGS:
        run.run(rung, scores)
    return candidates, scores, run


@pytest.mark.parametrize(("clips", "inputs"), [(7000, 300), (7000, 3635), (2000, 3000), (200, 30)])
@pytest.mark.parametrize("best", [(), (512, 64)])
def test_all_of_it_costs_at_most_the_budget(clips, inputs, best):
    _, _, run = race(clips, inputs, best)
    assert 0.1 < run.spent <= BUDGET


def test_every_candidate_is_seen_and_the_best_ones_again():
    candidates, scores, run = race(7000, 300)
    parts = [{(f.cut, f.fold) for f in scores.fits if name in f.names} for name in candidates]
    assert min(map(len, parts)) >= 1
    assert max(map(len, parts)) == 10
    assert sum(len(p) == 10 for p in parts) <= 3, "an eighth of 21"
    best = max(run.results.values(), key=lambda c: (len(c.curves), c.best_score))
    assert (best.config.hidden, best.config.weight_decay) == ((), 0.1)


def test_the_paper_s_settings_and_each_shape_have_all_their_epochs_to_be_compared_with():
    _, _, run = race(7000, 300)
    assert any(is_preset(name) for name in run.results)
    assert {c.config.hidden for c in run.results.values()} == {(), (64,), (512, 64)}
    assert all(len(c.score) == 20 for c in run.results.values())


def test_dear_candidates_are_first_seen_after_some_of_their_epochs():
    _, scores, _ = race(7000, 300)
    first = {f.configs[0].hidden: f.configs[0].epochs for f in scores.fits if (f.cut, f.fold) == (0, 0)}
    assert first[()] == 20
    assert {f.configs[0].epochs for f in scores.fits if f.configs[0].hidden == (512, 64)} == {6, 20}


def test_a_fit_holds_settings_that_can_be_trained_as_one_model():
    _, scores, _ = race(7000, 300)
    assert all(len({stacking_key(config) for config in fit.configs}) == 1 for fit in scores.fits)
    assert max(len(fit.configs) for fit in scores.fits) == 12, "all linear ones at once"


def test_the_rest_is_estimated_from_what_there_was():
    run = Race(make_candidates(7000), 300, 7000)
    run.run(RUNGS[0], Scores())
    assert 0 < run.estimate_rest(RUNGS[1:], 10.0) <= 10.0 * (BUDGET - run.spent) / run.spent
    assert run.estimate_rest((), 10.0) == 0
