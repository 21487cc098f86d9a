"""Maps as Python and Arrow have them: extents in seconds and shares, peaks by size, resolution."""

import json
import math

import pytest
from small_maps import make_explanation, make_image_explanation

from m3ray.scoring.explanations.explanation import SCHEMA, Cell, cells_table
from m3ray.scoring.explanations.parts import Part
from m3ray.storage.parquet_tables import METADATA_KEY


def test_the_table_has_middles_and_extents():
    table = cells_table(make_explanation())
    assert table.schema.equals(SCHEMA)
    first, last = table.to_pylist()[0], table.to_pylist()[-1]
    # Frames 0 to 3 of 4 a second, the left half.
    assert (first["t"], first["duration"]) == (0.5, 1.0)
    assert (first["y"], first["height"], first["x"], first["width"]) == (0.5, 1.0, 0.25, 0.5)
    assert (first["effect"], first["spread"], first["noise"]) == (0.02, 0.003, 0.004)
    assert (last["t"], last["y"], last["x"], last["level"]) == (1.5, 0.75, 0.75, 1)
    assert {row["clip_id"] for row in table.to_pylist()} == {"a/clip.mp4"}


def test_the_metadata_says_what_it_was_made_with():
    made = json.loads(cells_table(make_explanation()).schema.metadata[METADATA_KEY])
    assert made["bundle"] == "m3s"
    assert (made["method"], made["budget"], made["evaluations"], made["score"]) == ("occlusion", 16, 10, 0.75)
    assert (made["start_grid"], made["finest"]) == ([2, 1, 2], [2, 2, 2])


def test_an_image_has_a_place_and_no_time():
    explanation = make_image_explanation()
    assert explanation.is_image
    assert explanation.duration == 0
    assert {(row["t"], row["duration"]) for row in cells_table(explanation).to_pylist()} == {(0.0, 0.0)}
    assert explanation.finest == (1, 1, 2)


def test_a_small_part_with_an_effect_beats_a_large_one_with_a_little_more():
    cells = (
        Cell(Part(0, 8, bottom=0.5), 0.03),
        Cell(Part(0, 8, top=0.5, right=0.75), 0.0),
        Cell(Part(0, 8, 0.5, 1.0, 0.75, 1.0), 0.02),
    )
    explanation = make_explanation(cells)
    assert explanation.find_peak() == cells[2]
    # 0.02 for an eighth of the clip: 12.5 hundredths.
    assert explanation.heat(cells[2]) == pytest.approx(0.02 / 12.5)


def test_the_resolution_is_that_of_the_smallest_parts():
    explanation = make_explanation()
    assert (explanation.segments, explanation.rows, explanation.columns) == (2, 2, 2)
    assert make_explanation((Cell(Part(0, 8), 0.1),)).finest == (1, 1, 1)


def test_what_seeds_do_not_agree_on_counts_for_nothing():
    assert Cell(Part(0, 1), 0.03, noise=0.01).sure_effect == 0.03
    assert Cell(Part(0, 1), -0.03, noise=0.01).sure_effect == -0.03
    assert Cell(Part(0, 1), 0.01, noise=0.02).sure_effect == 0
    assert Cell(Part(0, 1), 0.01).sure_effect == 0.01
    ordered = make_explanation().sort_cells()
    assert [cell.effect for cell in ordered] == [0.02, 0.001, 0.0, 0.005, -0.01]


def test_doubt_is_spread_and_noise_together():
    assert Cell(Part(0, 1), 0.1, 0.03, 0.04).doubt == pytest.approx(0.05)
    assert Cell(Part(0, 1), 0.1, math.nan, 0.04).doubt == pytest.approx(0.04)
    assert Cell(Part(0, 1), 0.1).doubt == 0


def test_an_effect_as_large_as_its_noise_is_not_sure():
    assert Cell(Part(0, 1), 0.01, noise=0.01).sure_effect == 0
