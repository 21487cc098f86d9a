"""Pointing game, insertion and deletion on maps whose numbers can be reckoned in the head."""

import numpy as np
import pytest

from m3ray.errors import ShapeError
from m3ray.scoring.explanations.faithfulness import (
    Curve,
    find_peak,
    is_hit,
    measure_curve,
    measure_share_inside,
)


def make_map(value=1.0):
    """Four frames of 6 x 8 pixels; frames 1 and 2, rows 2 to 4 and columns 3 to 5 have the value, all else 0."""
    effects = np.zeros((4, 6, 8))
    effects[1:3, 2:5, 3:6] = value
    return effects


def test_the_peak_of_a_part_is_in_its_middle():
    frame, row, column = find_peak(make_map())
    assert frame in (1, 2)
    assert (row, column) == (3, 4)
    effects = make_map()
    effects[3, 0, 7] = 2
    assert find_peak(effects) == (3, 0, 7)
    assert find_peak(make_map(-1), sign=-1)[1:] == (3, 4)


def test_of_two_equal_parts_the_peak_is_in_one_and_not_between():
    effects = np.zeros((1, 5, 9))
    effects[0, 2, [1, 7]] = 1
    assert find_peak(effects) in ((0, 2, 1), (0, 2, 7))


def test_a_hit_is_in_space_and_in_time():
    region = make_map() > 0
    assert is_hit(make_map(), region)
    assert not is_hit(np.roll(make_map(), 2, axis=0), region), "too late"
    assert not is_hit(np.roll(make_map(), 4, axis=2), region), "too far to the right"
    assert not is_hit(make_map(-1), region), "it takes from the score"
    assert is_hit(make_map(-1), region, sign=-1)


def test_share_inside():
    region = np.zeros((4, 6, 8), bool)
    region[1] = True
    assert measure_share_inside(make_map(), region) == 0.5, "one of two frames"
    effects = make_map()
    effects[3, 0, 0] = -100
    assert measure_share_inside(effects, region) == 0.5, "of one sign"
    assert measure_share_inside(effects, region, sign=-1) == 0.0
    assert measure_share_inside(np.zeros((4, 6, 8)), region) == 0.0


def count_white(clips):
    return np.array([(clip[..., 0] == 255).mean() for clip in clips])


def test_insertion_rises_at_once_and_deletion_falls_at_once_where_the_order_is_right():
    """A quarter of the pixels is white, and the score is the share of white pixels."""
    frames = np.zeros((1, 4, 4, 3), np.uint8)
    frames[0, 0] = 255
    fill, right, wrong = np.zeros_like(frames), frames[..., 0], 255 - frames[..., 0]
    rising = measure_curve(count_white, frames, fill, right, "insertion", 4)
    np.testing.assert_allclose(rising.shares, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(rising.scores, [0, 0.25, 0.25, 0.25, 0.25])
    assert rising.area == pytest.approx(0.25 * 0.875)  # the first of four steps is half of it
    falling = measure_curve(count_white, frames, fill, right, "deletion", 4)
    np.testing.assert_allclose(falling.scores, [0.25, 0, 0, 0, 0])
    late = measure_curve(count_white, frames, fill, wrong, "insertion", 4)
    np.testing.assert_allclose(late.scores, [0, 0, 0, 0, 0.25])
    assert (frames[0, 0] == 255).all(), "the clip is as it was"


def test_a_curve_has_its_ends_whatever_the_steps():
    frames = np.random.default_rng(0).integers(0, 255, (3, 5, 7, 3)).astype(np.uint8)
    seen = []

    def score(clips):
        seen.extend(clips)
        return np.zeros(len(clips))

    effects = np.random.default_rng(1).random((3, 5, 7))
    curve = measure_curve(score, frames, np.zeros_like(frames), effects, "deletion", 10)
    assert len(curve.shares) == 11
    np.testing.assert_array_equal(seen[0], frames)
    assert not seen[-1].any()
    hidden = [(~clip.any(axis=-1)).sum() for clip in seen]
    assert np.all(np.abs(np.diff(hidden) - 10.5) <= 1), "equal steps of 105 pixels"


def test_area_is_the_mean_score():
    assert Curve(np.array([0, 0.5, 1]), np.array([1.0, 1.0, 0.0])).area == pytest.approx(0.75)


def test_what_is_no_map_is_told():
    with pytest.raises(ShapeError, match=r"effects \(4, 6\): expected a number for each pixel"):
        find_peak(np.zeros((4, 6)))
    with pytest.raises(ShapeError, match="1 of 4 effects are not finite"):
        find_peak(np.array([[[0, 1], [2, np.nan]]]))
    with pytest.raises(ShapeError, match="expected the same"):
        is_hit(make_map(), np.ones((4, 6, 7), bool))
    with pytest.raises(ShapeError, match=r"fill \(4, 6, 7, 3\)"):
        measure_curve(count_white, np.zeros((4, 6, 8, 3)), np.zeros((4, 6, 7, 3)), make_map(), "deletion")
