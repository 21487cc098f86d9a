"""Overlays: red where a part adds, blue where it takes, the clip where nothing matters; forms that open."""

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence
from small_maps import make_explanation, make_image_explanation

from m3ray.errors import ConfigError
from m3ray.scoring.explanations.explanation import Cell
from m3ray.scoring.explanations.overlay import (
    blend,
    choose_pictures,
    draw_frames,
    draw_overlay,
    rasterise_heat,
    read_scale,
)
from m3ray.scoring.explanations.parts import Part

GREY = np.full((20, 20, 3), 128, np.uint8)


def test_heat_lies_where_and_when_its_part_is():
    explanation = make_explanation()
    early, late = (rasterise_heat(explanation, position, (40, 60)) for position in (3, 4))
    # 0.02 for a quarter of the clip, 25 hundredths.
    np.testing.assert_allclose(early[:, :30], 0.02 / 25)
    np.testing.assert_array_equal(early[:, 30:], 0)
    np.testing.assert_allclose(late[20:, 30:], -0.01 / 12.5)
    assert read_scale(explanation) == pytest.approx(0.01 / 12.5)


def test_colours_tell_signs_and_zero_shows_the_clip():
    heat = np.zeros((20, 20), np.float32)
    heat[:5], heat[5:10] = 2.0, -2.0
    shown = blend(GREY, heat, 2.0).astype(int)
    np.testing.assert_array_equal(shown[10:], 128)
    assert (shown[:5, :, 0] > shown[:5, :, 2] + 50).all(), "red"
    assert (shown[5:10, :, 2] > shown[5:10, :, 0] + 50).all(), "blue"
    weak = blend(GREY, heat / 10, 2.0).astype(int)
    assert np.abs(weak - 128).max() < np.abs(shown - 128).max() / 5
    np.testing.assert_array_equal(blend(GREY, np.zeros((20, 20)), 0.0), GREY)


def test_forms_open_and_have_all_frames():
    explanation = make_explanation()
    animation = Image.open(io.BytesIO(draw_overlay(explanation, "webp")))
    assert animation.format == "WEBP"
    assert len(list(ImageSequence.Iterator(animation))) == 8
    strip = Image.open(io.BytesIO(draw_overlay(explanation, "png")))
    assert strip.format == "PNG"
    assert strip.width > 2 * strip.height
    assert draw_overlay(explanation, "mp4")[4:8] == b"ftyp"
    assert draw_overlay(explanation, "png") == draw_overlay(explanation, "png"), "the same bytes each time"


def test_each_frame_of_an_animation_has_its_own_map_and_time():
    frames = draw_frames(make_explanation())
    assert len(frames) == 8
    assert (frames[0] != frames[7]).any()
    np.testing.assert_array_equal(frames[0][:40], frames[7][:40], "the title stays")


def test_an_image_has_a_picture_and_no_animation():
    explanation = make_image_explanation()
    assert Image.open(io.BytesIO(draw_overlay(explanation, "png"))).format == "PNG"
    with pytest.raises(ConfigError, match="is one frame: its overlay is a png"):
        draw_overlay(explanation, "webp")


def test_another_form_is_told():
    with pytest.raises(ConfigError, match="an overlay as gif: expected one of png, webp, mp4"):
        draw_overlay(make_explanation(), "gif")


def test_a_map_without_effects_is_drawn_too():
    explanation = make_explanation((Cell(Part(0, 8), 0.0),))
    assert read_scale(explanation) == 0
    assert Image.open(io.BytesIO(draw_overlay(explanation, "png"))).format == "PNG"


def test_the_strongest_effect_is_among_the_pictures_of_a_strip():
    cells = (Cell(Part(0, 17), 0.0), Cell(Part(17, 19), 0.1), Cell(Part(19, 40), 0.0))
    chosen = choose_pictures(make_explanation(cells, frames=40))
    assert len(chosen) == 5
    assert any(17 <= k < 19 for k in chosen)
