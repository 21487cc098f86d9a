"""What stands around a picture: it is placed at its corner, time moves on, numbers stand beside the colours."""

import numpy as np
import pytest
from small_maps import make_explanation, make_image_explanation

from m3ray.scoring.explanations.canvas import draw_canvas, draw_strip

PICTURE = np.full((36, 64, 3), 200, np.uint8)


def test_a_picture_lies_at_its_corner_and_the_line_of_time_grows():
    canvas = draw_canvas(make_explanation(), (36, 64), 0.01)
    row, column = canvas.corner
    begun, done = canvas.place(PICTURE, 0.0), canvas.place(PICTURE, 1.0)
    np.testing.assert_array_equal(begun[row : row + 36, column : column + 64], PICTURE)
    y, x, width = canvas.line
    dark = [(shown[y, x : x + width].max(axis=-1) < 100).sum() for shown in (begun, done)]
    assert dark[0] <= 2
    assert dark[1] == width
    np.testing.assert_array_equal(canvas.pixels[row, column], 255, "the canvas itself stays empty")


def test_an_image_has_no_line_of_time():
    assert draw_canvas(make_image_explanation(), (36, 64), 0.01).line is None


def read_texts(monkeypatch, draw):
    from matplotlib.text import Text

    said = []
    original = Text.draw
    monkeypatch.setattr(Text, "draw", lambda self, renderer: (said.append(self.get_text()), original(self, renderer)))
    draw()
    return [text for text in said if text]


def test_title_scale_and_times_are_written(monkeypatch):
    said = read_texts(monkeypatch, lambda: draw_canvas(make_explanation(), (36, 64), 0.01))
    assert "a/clip.mp4" in said
    assert "m3s: score 0.750" in said
    assert {"+0.01", "0", "-0.01"} <= set(said), "the scale's ends and its zero"
    assert "score per 1 % of the clip" in said
    assert "2.0 s" in said


def test_a_strip_has_the_time_of_each_picture(monkeypatch):
    said = read_texts(monkeypatch, lambda: draw_strip(make_explanation(), [PICTURE] * 2, [0.25, 1.5], 0.01))
    assert {"0.2 s", "1.5 s"} <= set(said)


@pytest.mark.parametrize("name", ["$x$ \\frac{1}{0}", "a" * 300, "line\nbreak\x1b[31m"])
def test_names_are_drawn_as_they_are(name):
    pixels = draw_canvas(make_explanation(clip_id=name), (36, 64), 0.0).pixels
    assert pixels.shape[2] == 3
