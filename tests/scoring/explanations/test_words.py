"""Maps in words."""

from dataclasses import replace

import pytest
from small_maps import make_explanation, make_image_explanation

from m3ray.scoring.explanations.explanation import Cell
from m3ray.scoring.explanations.parts import Part
from m3ray.scoring.explanations.words import (
    choose_parts,
    describe_effect,
    describe_part,
    describe_resolution,
    name_place,
)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0, 1, 0, 1), "whole frame"),
        ((0, 0.25, 0, 0.25), "upper left"),
        ((0.375, 0.625, 0.375, 0.625), "centre"),
        ((0.4, 0.6, 0, 0.25), "centre left"),
        ((0.75, 1, 0.4, 0.6), "lower middle"),
        ((0.75, 1, 0.75, 1), "lower right"),
        ((0, 1, 0, 0.25), "left"),
        ((0, 0.25, 0, 1), "upper middle"),
        ((0.4, 0.6, 0, 1), "centre"),
        ((0, 1, 0.4, 0.6), "centre"),
    ],
)
def test_places(box, words):
    assert name_place(Part(0, 1, *box)) == words


def test_a_part_has_place_box_and_seconds():
    explanation = make_explanation()
    assert describe_part(explanation, Part(0, 4, 0.5, 1.0, 0.0, 0.25)) == "lower left (x 0-25 %, y 50-100 %), 0.0-1.0 s"
    assert describe_part(explanation, Part(4, 8)) == "whole frame, 1.0-2.0 s"
    assert describe_part(make_image_explanation(), Part(0, 1)) == "whole frame"


def test_effects_have_a_sign_and_a_doubt():
    assert describe_effect(Cell(Part(0, 1), 0.0312, 0.003, 0.004)) == "+0.031 ± 0.005"
    assert describe_effect(Cell(Part(0, 1), -0.02)) == "-0.020"


def test_the_strongest_come_first_and_those_without_an_effect_not_at_all():
    adds, takes = choose_parts(make_explanation())
    assert [cell.effect for cell in adds] == [0.02, 0.001], "0.005 with a noise of 0.008 is not sure"
    assert [cell.effect for cell in takes] == [-0.01]
    assert [cell.effect for cell in choose_parts(make_explanation(), 1)[0]] == [0.02]


def test_how_finely_was_looked():
    assert describe_resolution(make_explanation()) == (
        "occlusion: 1 x 2 parts x 2 times, down to 2 x 2 parts x 2 times where it matters; 10 versions scored in 1.5 s"
    )
    sparse = make_explanation(seen=2, start_grid=(2, 2, 2), method="gradient")
    assert (
        describe_resolution(sparse) == "gradient: 2 x 2 parts x 2 times; it looks at 2 of 8 frames; 10 passes in 1.5 s"
    )
    assert describe_resolution(make_image_explanation()).startswith("occlusion: 1 x 2 parts; 10 versions")


def make_with_effects(*effects):
    cells = tuple(Cell(Part(0, 8, top=k / 10, bottom=(k + 1) / 10), effect) for k, effect in enumerate(effects))
    return replace(make_explanation(), cells=cells)


def test_what_takes_most_comes_first_among_what_takes():
    takes = choose_parts(make_with_effects(-0.01, 0.02, -0.03, -0.02, -0.005))[1]
    assert [cell.effect for cell in takes] == [-0.03, -0.02, -0.01]


def test_an_effect_that_is_written_as_nothing_is_not_named():
    adds, takes = choose_parts(make_with_effects(0.0004, -0.0004, -0.0006))
    assert ([cell.effect for cell in adds], [cell.effect for cell in takes]) == ([], [-0.0006])


def test_one_version_is_one():
    assert "; 1 version scored in 1.5 s" in describe_resolution(make_explanation(evaluations=1))
    assert "; 1 pass in 1.5 s" in describe_resolution(make_explanation(evaluations=1, method="gradient"))
