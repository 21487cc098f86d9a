"""Pictures of a map: small, at a few times, the largest effect's among them, in the colours of the overlay."""

import cv2
import numpy as np
import pytest
from made_maps import make_map

from m3ray.scoring.explanations.canvas import ADDS, STRONGEST
from m3ray.scoring.explanations.map_pictures import LONGEST_SIDE, draw_pictures


def decode(data):
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB).astype(int)


def test_a_few_pictures_of_a_clip_show_what_adds_and_when():
    shown = draw_pictures(make_map())
    assert 3 <= len(shown.pictures) <= 5
    assert list(shown.times) == sorted(shown.times)
    assert shown.times[0] < 1 <= shown.times[-1] < 2
    early, late = decode(shown.pictures[0]), decode(shown.pictures[-1])
    assert late.shape == (round(120 * LONGEST_SIDE / 320), LONGEST_SIDE, 3)
    corner = (slice(10, 30), slice(10, 100))
    # From grey to the colour of what adds, as far as the strongest effect goes: `blend`.
    expected = 128 + STRONGEST * (np.array(ADDS) - 128)
    np.testing.assert_allclose(late[corner].mean(axis=(0, 1)), expected, atol=6)
    assert np.ptp(early[corner].mean(axis=(0, 1))) < 12, "nearly grey before it adds"
    assert len(shown.pictures[0]) < 8_000


def test_the_scale_is_the_strongest_effect_for_each_hundredth_of_the_clip():
    # A quarter of the frame for half of the time is 12.5 hundredths.
    assert draw_pictures(make_map()).scale == pytest.approx(0.08 / 12.5)


def test_an_image_has_one_picture():
    shown = draw_pictures(make_map(frames=1))
    assert (shown.times, len(shown.pictures)) == ((0.0,), 1)
