"""Hiding: content goes, its surroundings stay, borders are soft, and seeds move them to both sides."""

import numpy as np
import pytest
from small_maps import draw_noise

from m3ray.scoring.explanations.hiding import BLUR_SIDE, blur_frames, cover_part, enlarge
from m3ray.scoring.explanations.parts import Part

SHAPE = (12, 64, 64)


def hide(frames, part, seed=0, seeds=1, *, every_frame=True):
    cover = cover_part(part, frames.shape[:3], seed, seeds, every_frame=every_frame)
    return cover.hide(frames, blur_frames(frames), 0)


def make_frames(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)


def test_a_blurred_frame_has_its_mean_and_no_detail():
    frames = make_frames()
    blurred = blur_frames(frames)
    assert blurred.shape == (12, BLUR_SIDE, BLUR_SIDE, 3)
    np.testing.assert_allclose(blurred.mean((1, 2)), frames.mean((1, 2)), atol=2)
    # White noise under a Gaussian of sigma s pixels keeps 1 / (2 sqrt(pi) s) of its deviation; s is an eighth of 64.
    expected = frames.std() / (2 * np.sqrt(np.pi) * 8)
    assert enlarge(blurred, 64, 64).std(axis=(1, 2)).mean() == pytest.approx(expected, rel=0.25)


def test_the_inside_is_blurred_and_the_outside_stays():
    frames = make_frames()
    part = Part(4, 8, 0.25, 0.75, 0.25, 0.75)
    changed = hide(frames, part)
    fill = enlarge(blur_frames(frames), 64, 64)
    np.testing.assert_array_equal(changed[5:7, 22:42, 22:42], fill[5:7, 22:42, 22:42])
    np.testing.assert_array_equal(changed[:3], frames[:3])
    np.testing.assert_array_equal(changed[9:], frames[9:])
    np.testing.assert_array_equal(changed[:, :10], frames[:, :10])
    np.testing.assert_array_equal(changed[:, :, 54:], frames[:, :, 54:])


def test_borders_are_soft_but_those_of_the_clip():
    cover = cover_part(Part(0, 12, 0.0, 0.5, 0.25, 1.0), SHAPE, 0, 1, every_frame=True)
    np.testing.assert_array_equal(cover.in_time, 1), "all of the time"
    assert cover.in_rows[0] == 1, "the frame's own border is none"
    assert cover.in_columns[-1] == 1
    steps = np.abs(np.diff(cover.in_rows))
    assert 0 < steps.max() < 0.4, "no step from 1 to 0"
    assert cover.in_rows[:32].sum() + cover.in_rows[32:].sum() == pytest.approx(32, abs=0.1), "half at the border"


def test_parts_of_a_grid_cover_each_pixel_once_together():
    edges = [(0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0)]
    rows = [cover_part(Part(0, 12, top, bottom), SHAPE, 0, 2, every_frame=True).in_rows for top, bottom in edges]
    np.testing.assert_allclose(np.sum(rows, axis=0), 1, atol=1e-6)


def test_two_seeds_move_borders_to_opposite_sides():
    part = Part(3, 9, 0.25, 0.5, 0.25, 0.5)
    plain = cover_part(part, SHAPE, 0, 1, every_frame=True)
    first, second = (cover_part(part, SHAPE, seed, 2, every_frame=True) for seed in (0, 1))
    middles = [np.average(np.arange(64), weights=cover.in_rows) for cover in (first, plain, second)]
    assert middles[0] != pytest.approx(middles[1], abs=1e-3)
    assert (middles[0] + middles[2]) / 2 == pytest.approx(middles[1], abs=0.2)
    again = cover_part(part, SHAPE, 0, 2, every_frame=True)
    np.testing.assert_array_equal(first.in_rows, again.in_rows)


def test_where_single_frames_are_looked_at_time_has_no_soft_borders():
    cover = cover_part(Part(4, 8, 0.0, 0.5), SHAPE, 0, 2, every_frame=False)
    assert (cover.start, cover.stop) == (4, 8)
    np.testing.assert_array_equal(cover.in_time, 1)


@pytest.mark.parametrize("part", [Part(5, 6), Part(0, 1, 0.0, 0.001, 0.0, 0.001), Part(11, 12, 0.999, 1.0)])
def test_the_narrowest_part_hides_something(part):
    frames = draw_noise(12)
    cover = cover_part(part, (12, 32, 32), 1, 2, every_frame=True)
    assert cover.start <= part.start < cover.stop
    assert (cover.hide(frames, blur_frames(frames), 0) != frames).any()


def test_a_piece_of_the_clip_is_hidden_as_in_the_whole():
    frames = make_frames()
    part = Part(2, 10, 0.0, 0.5)
    cover = cover_part(part, SHAPE, 0, 1, every_frame=True)
    whole = cover.hide(frames, blur_frames(frames), 0)
    np.testing.assert_array_equal(cover.hide(frames[5:12], blur_frames(frames[5:12]), 5), whole[5:12])
