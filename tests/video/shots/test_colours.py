"""Colours of pictures that are encoded anew: which are told, and that a picture of others is noticed."""

from types import SimpleNamespace

import av
import numpy as np
import pytest

from m3ray.video.shots.colours import Colours, differ, shrink

RNG = np.random.default_rng(3)
PICTURE = np.repeat(np.repeat(RNG.integers(0, 256, (8, 8, 3)).astype(np.uint8), 32, axis=0), 48, axis=1)


def make_frame(pixels, picture=PICTURE, **options):
    return av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels, **options)


def make_source(matrix=2, primaries=2, transfer=2, levels=0):
    names = ("colorspace", "color_primaries", "color_trc", "color_range")
    return SimpleNamespace(**dict(zip(names, (matrix, primaries, transfer, levels), strict=True)))


@pytest.mark.parametrize(
    ("source", "told", "pixels", "chosen"),
    [
        ("gbrp", (0, 2, 2, 2), "yuv444p", (1, 1, 13, 1)),
        ("rgb24", (2, 2, 2, 0), "yuv420p", (1, 1, 13, 1)),
        ("gbrp", (0, 9, 16, 2), "yuv420p", (1, 9, 16, 1)),
        ("gbrp", (0, 2, 2, 2), "gbrp", (0, 2, 2, 2)),
        ("bgra", (0, 2, 2, 2), "gbrap", (0, 2, 2, 2)),
        ("yuv420p", (9, 9, 16, 1), "yuv420p", (9, 9, 16, 1)),
        ("yuv422p10le", (9, 9, 16, 0), "yuv420p10le", (9, 9, 16, 1)),
        ("gray", (2, 2, 2, 0), "yuv420p", (2, 2, 2, 1)),
    ],
)
def test_colours_are_the_sources_but_for_rgb_that_becomes_yuv(source, told, pixels, chosen):
    """Numbers of FFmpeg's enumerations: matrix, primaries, transfer, levels; `RGB` 0, `BT709` 1, sRGB 13, limited 1."""
    frame = make_frame(source)
    frame.color_range = told[3]
    colours = Colours.choose(frame, make_source(*told), pixels)
    context = SimpleNamespace()
    colours.tell(context)
    got = (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
    assert got == chosen


@pytest.mark.parametrize("pixels", ["rgb24", "gbrp", "bgra"])
def test_rgb_becomes_the_yuv_of_the_standard(pixels):
    """BT.709's equations for limited levels, in NumPy."""
    frame = make_frame(pixels)
    got = Colours.choose(frame, make_source(0), "yuv444p").convert(frame).to_ndarray()
    red, green, blue = np.moveaxis(PICTURE / 255, -1, 0)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    wanted = [16 + 219 * luma, 128 + 224 * (blue - luma) / 1.8556, 128 + 224 * (red - luma) / 1.5748]
    # Rounded to the nearest, of fixed-point numbers.
    np.testing.assert_allclose(np.asarray(got).reshape(3, *luma.shape), wanted, atol=1.5)


def test_what_has_the_format_is_left_as_it_is():
    frame = make_frame("yuv420p")
    assert Colours("yuv420p", 2, 2, 2, 0).convert(frame) is frame


def test_a_small_picture_is_the_mean_of_each_part():
    wanted = PICTURE.reshape(8, 32, 8, 48, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(shrink(make_frame("rgb24")), wanted, atol=1)


def test_other_colours_are_noticed_and_halved_ones_are_not():
    small = shrink(make_frame("rgb24"))
    halved = make_frame("yuv420p", dst_colorspace=1, dst_color_range=1)
    assert not differ(small, shrink(halved))
    assert differ(small, shrink(make_frame("rgb24", PICTURE[..., ::-1].copy())))
    halved.color_range = 2  # limited levels told to be full ones
    assert differ(small, shrink(halved))
