"""PySceneDetect's detectors fed frame by frame: the same whatever the batches, and no fast pan is a cut."""

import numpy as np
import pytest
from drawn_films import draw_film

from m3ray.video.shots.content import ContentCuts
from m3ray.video.shots.timeline import Timeline

SIZE = {"height": ContentCuts.height, "width": ContentCuts.width}


def find(frames, batch, rate=25.0):
    cuts = ContentCuts()
    for start in range(0, len(frames), batch):
        cuts.add(frames[start : start + batch])
    return cuts.end(Timeline.steady(len(frames), rate)).tolist()


@pytest.mark.parametrize("batch", [1, 7, 200])
def test_a_stream_of_frames_has_the_cuts_of_the_whole(batch):
    assert find(draw_film(1, [30, 20, 40], **SIZE), batch) == [30, 50]


def test_a_pan_that_changes_every_frame_alike_is_no_cut():
    wall = np.random.default_rng(0).integers(0, 256, (72, 1400, 3)).astype(np.uint8)
    pan = np.stack([wall[:, 20 * k : 20 * k + 128] for k in range(60)])
    assert find(pan, 16) == []
    assert find(pan[:8], 16, rate=1.0) == list(range(1, 8)), "at a frame a second each is a slide of its own"


def test_a_flash_of_a_few_frames_is_no_cut_but_a_scene_of_more_is_one():
    film, other = draw_film(2, [60], **SIZE), draw_film(3, [15], **SIZE)
    for length, cuts in ((1, []), (4, []), (9, []), (15, [30, 45])):
        frames = film.copy()
        frames[30 : 30 + length] = other[:length]
        assert find(frames, 8) == cuts, f"{length} frames"


def test_no_frame_and_one_frame():
    assert ContentCuts().end(Timeline.steady(0, 25.0)).tolist() == []
    assert find(draw_film(4, [1], **SIZE), 8) == []


def test_how_long_a_flash_may_be():
    film, other = draw_film(2, [60], **SIZE), draw_film(3, [15], **SIZE)
    for length, cuts in ((10, []), (11, [30, 41])):
        frames = film.copy()
        frames[30 : 30 + length] = other[:length]
        assert find(frames, 8) == cuts, f"{length} frames"


def test_slides_of_a_quarter_of_a_second_are_told_by_their_own_change_and_faster_ones_by_their_neighbours_too():
    wall = np.random.default_rng(0).integers(0, 256, (72, 300, 3)).astype(np.uint8)
    pan = np.stack([wall[:, 20 * k : 20 * k + 128] for k in range(8)])
    assert find(pan, 16, rate=4.0) == list(range(1, 8))
    assert find(pan, 16, rate=4.1) == []


def test_of_slides_a_small_change_is_no_cut():
    """PySceneDetect's own threshold of content is 27: a grey that grows by 60 changes one of three channels by that."""
    grey = np.stack([np.full((72, 128, 3), value, np.uint8) for value in (10, 70, 130, 190, 250)])
    assert find(grey, 16, rate=4.0) == []
