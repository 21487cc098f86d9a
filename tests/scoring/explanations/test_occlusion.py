"""The search: effects are those of hiding one part at a time, parts stay a partition, the budget holds."""

import numpy as np
import pytest
from small_maps import COLUMNS, ROWS, SIZE, TIME, ContrastTier, draw_noise, make_evaluator

from m3ray.config.explain_options import ExplainConfig
from m3ray.scoring.explanations.explanation import Cell
from m3ray.scoring.explanations.hiding import cover_part
from m3ray.scoring.explanations.occlusion import OcclusionSearch, order_by_weight
from m3ray.scoring.explanations.parts import Grid, Part, choose_grid


def search(frames, config, tier=None, progress=None):
    tier = tier or ContrastTier()
    view, evaluator = make_evaluator(frames, tier)
    found = OcclusionSearch(view, evaluator, config, progress)
    return found.run(choose_grid(config, view.frames, view.seen)), found, view, evaluator


def test_parts_are_a_partition_and_the_budget_holds():
    for budget in (2, 5, 32, 33, 100):
        cells, found, _, _ = search(draw_noise(12), ExplainConfig(budget=budget))
        held = np.zeros((12, SIZE, SIZE), int)
        for cell in cells:
            part = cell.part
            rows = slice(round(part.top * SIZE), round(part.bottom * SIZE))
            held[part.start : part.stop, rows, round(part.left * SIZE) : round(part.right * SIZE)] += 1
        assert (held == 1).all()
        assert 0 < found.evaluations <= budget


def test_the_effect_of_a_part_that_matters_is_the_mean_of_hiding_it_with_its_borders_here_and_there():
    config = ExplainConfig(budget=48, seeds=3)
    frames = draw_noise(12)
    cells, _, view, evaluator = search(frames, config)
    cell = max(cells, key=lambda cell: cell.effect)
    lays = ((0, 1), (0, 2), (1, 2))  # as it is, and two that move to opposite sides
    covers = [cover_part(cell.part, (12, SIZE, SIZE), *lay, every_frame=True) for lay in lays]
    takes = evaluator.as_it_is[0] - evaluator.evaluate(covers)[0]
    assert cell.effect == pytest.approx(takes.mean())
    assert cell.noise == pytest.approx(takes.std(ddof=1))
    assert np.isnan(cell.spread), "one run: a pretrained scorer"
    assert view.frames == 12


def test_parts_that_matter_are_the_small_ones():
    cells, _, _, _ = search(draw_noise(12), ExplainConfig(budget=128))
    finest = max(cell.part.level for cell in cells)
    small = [cell.part for cell in cells if cell.part.level == finest]
    assert finest >= 2
    for part in small:  # each, or the piece beside it of the part that it was cut from
        length, height, width = part.stop - part.start, part.bottom - part.top, part.right - part.left
        assert part.start - length < TIME.stop
        assert part.stop + length > TIME.start
        assert (part.top - height) * SIZE < ROWS.stop
        assert (part.bottom + height) * SIZE > ROWS.start
        assert (part.left - width) * SIZE < COLUMNS.stop
        assert (part.right + width) * SIZE > COLUMNS.start


def test_what_nothing_looks_at_costs_nothing_and_adds_nothing():
    class First(ContrastTier):
        whole_clip = False

    cells, found, _, _ = search(draw_noise(12), ExplainConfig(budget=64, seeds=2), First())
    rest = [cell for cell in cells if cell.part.start > 0]
    assert [(cell.effect, cell.noise) for cell in rest] == [(0.0, 0.0)]
    assert found.evaluations == 16, "4 x 4 parts of the first frame, whose score is 0 in any case"


def test_the_budget_s_last_quarter_goes_to_the_parts_that_matter_most():
    cells, found, _, _ = search(draw_noise(12), ExplainConfig(budget=64, seeds=3))
    repeated = [abs(cell.effect) for cell in cells if not np.isnan(cell.noise)]
    once = [abs(cell.effect) for cell in cells if np.isnan(cell.noise)]
    assert len(repeated) >= 8, "64 / 4 / 2 further covers each"
    assert found.evaluations > 60
    assert min(repeated) >= 0.5 * max(once), "but for what other borders changed"


def test_one_seed_tells_no_noise():
    cells, _, _, _ = search(draw_noise(12), ExplainConfig(budget=16, seeds=1))
    assert all(np.isnan(cell.noise) for cell in cells)


def test_a_part_without_borders_is_hidden_once():
    class First(ContrastTier):
        whole_clip = False

    view, evaluator = make_evaluator(draw_noise(12), First())
    found = OcclusionSearch(view, evaluator, ExplainConfig(budget=3, seeds=3))
    found.run(Grid((0, 1, 12), 1, 1))
    assert found.evaluations == 1, "no seed could move anything"


def test_progress_is_told():
    told = []
    search(draw_noise(12), ExplainConfig(budget=40), progress=lambda done, budget: told.append((done, budget)))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1][0] <= 40
    assert {budget for _, budget in told} == {40}


def test_what_adds_and_what_takes_are_taken_in_turns():
    cells = [Cell(Part(k, k + 1), effect) for k, effect in enumerate((0.1, -0.3, 0.2, 0.0, -0.1))]
    assert [cell.effect for cell in order_by_weight(cells)] == [0.2, -0.3, 0.1, -0.1, 0.0]
