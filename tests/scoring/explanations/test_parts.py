"""Parts: what a map begins with, how parts are cut, and that they are the whole clip at every step."""

import numpy as np
import pytest

from m3ray.config.explain_options import ExplainConfig
from m3ray.errors import ConfigError
from m3ray.scoring.explanations.parts import (
    SMALLEST,
    Part,
    choose_fine_grid,
    choose_grid,
    count_seen,
    cut_part,
    cut_space,
    cut_time,
)

ALL = np.arange(45)


def cover(parts, frames, side=16):
    """How many of the parts hold each frame and pixel."""
    held = np.zeros((frames, side, side), int)
    for part in parts:
        rows = slice(round(part.top * side), round(part.bottom * side))
        held[part.start : part.stop, rows, round(part.left * side) : round(part.right * side)] += 1
    return held


def test_half_of_the_budget_is_left_for_parts_that_matter():
    grid = choose_grid(ExplainConfig(budget=64, grid=4, segments=4, seeds=2), 45, ALL)
    assert (grid.segments, grid.rows, grid.columns) == (4, 2, 2), "3 x 3 would take 36 of the 48 that are not kept"
    image = choose_grid(ExplainConfig(budget=64, grid=4, segments=4, seeds=2), 1, np.arange(1))
    assert (image.segments, image.rows, image.columns) == (1, 4, 4)
    tiny = choose_grid(ExplainConfig(budget=2, seeds=2), 45, ALL)
    assert (tiny.segments, tiny.rows) == (2, 1)


@pytest.mark.parametrize("seen", [ALL, np.array([0]), np.array([7, 22, 37]), np.array([0, 7, 22, 37])])
def test_the_first_parts_are_the_clip_each_place_once(seen):
    grid = choose_grid(ExplainConfig(), 45, seen)
    parts = grid.lay_parts(seen)
    assert (cover(parts, 45) == 1).all()
    assert {part.level for part in parts} == {0}


def test_each_segment_has_a_frame_that_is_looked_at():
    seen = np.array([7, 22, 37])
    borders = choose_grid(ExplainConfig(segments=4), 45, seen).borders
    assert borders == (0, 15, 30, 45), "in the middle between them"
    assert choose_grid(ExplainConfig(segments=2), 45, seen).borders == (0, 30, 45), "two and one"


def test_after_a_first_frame_alone_nothing_is_cut():
    grid = choose_grid(ExplainConfig(), 45, np.array([0]))
    assert grid.borders == (0, 1, 45)
    rest = [part for part in grid.lay_parts(np.array([0])) if part.start == 1]
    assert rest == [Part(1, 45)]


def test_a_film_is_searched_in_time_first():
    seen = np.arange(9000)
    grid = choose_grid(ExplainConfig(budget=64, seeds=2), 9000, seen)
    assert (grid.segments, grid.rows, grid.columns) == (24, 1, 1), "half of the 48 versions of the search"


def test_cutting_keeps_every_place_once():
    parts = [Part(0, 45)]
    for _ in range(4):
        first = max(parts, key=lambda part: part.area * (part.stop - part.start))
        parts = [part for part in parts if part != first] + cut_part(first, ALL)
        assert (cover(parts, 45) == 1).all()


def test_the_larger_side_is_cut():
    assert len(cut_part(Part(0, 45, right=0.5, bottom=0.5), ALL)) == 2, "all of the time, half of the frame"
    assert len(cut_part(Part(0, 11), ALL)) == 4
    assert [part.level for part in cut_part(Part(0, 11), ALL)] == [1] * 4


def test_the_smallest_parts_stay():
    small = Part(3, 4, 0.0, SMALLEST, 0.0, SMALLEST)
    assert cut_part(small, ALL) == []
    assert cut_part(Part(10, 20), np.array([0])) == [], "nothing is looked at"
    assert len(cut_part(Part(3, 9, 0.0, SMALLEST, 0.0, SMALLEST), ALL)) == 2, "in time there is more"


def test_time_is_cut_between_the_frames_that_are_looked_at():
    first, second = cut_time(Part(0, 60), np.array([10, 20, 40, 50]))
    assert (first.stop, second.start) == (30, 30)
    assert count_seen(first, np.array([10, 20, 40, 50])) == 2


def test_rows_and_columns():
    parts = cut_space(Part(0, 2), 2, 3)
    assert len(parts) == 6
    assert sum(part.area for part in parts) == pytest.approx(1)


def test_a_map_by_gradients_is_as_fine_as_parts_get():
    grid = choose_fine_grid(ExplainConfig(segments=4), 45, ALL)
    assert (grid.segments, grid.rows, grid.columns) == (16, 16, 16)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ExplainConfig(budget=0), "budget 0 of a map: expected 1 or more"),
        (ExplainConfig(grid=0), "grid 0"),
        (ExplainConfig(segments=-1), "segments -1"),
        (ExplainConfig(seeds=0), "seeds 0"),
    ],
)
def test_settings_that_make_no_sense(config, words):
    with pytest.raises(ConfigError, match=words):
        choose_grid(config, 45, ALL)
