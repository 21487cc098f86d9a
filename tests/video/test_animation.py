"""Pictures and animations as files: they decode to what was encoded."""

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.errors import ConfigError
from m3ray.video.animation import encode_animation, encode_png
from m3ray.video.decode import decode


def make_frames(count=6, height=48, width=64):
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[:] = (np.arange(count) * 30)[:, None, None, None]
    return frames


def test_a_png_has_the_pixels():
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_png(picture)))), picture)


def test_a_webp_has_frames_and_times():
    animation = Image.open(io.BytesIO(encode_animation(make_frames(), 4.0, "webp")))
    assert len(list(ImageSequence.Iterator(animation))) == 6
    for k in range(6):
        animation.seek(k)
        assert np.asarray(animation.convert("RGB")).mean() == pytest.approx(30 * k, abs=3)
        assert animation.info["duration"] == 250


@pytest.mark.parametrize("fps", [4.0, 15.0, 64 / 12])
def test_an_mp4_has_frames_and_rate_and_even_sides(fps):
    data = encode_animation(make_frames(height=49, width=65), fps, "mp4")
    ((metadata, frames),) = decode(data, DecodeConfig(fps=30), LimitsConfig())
    assert (metadata.width, metadata.height, metadata.frames) == (64, 48, 6)
    assert metadata.native_fps == pytest.approx(fps, rel=0.01)
    assert frames.mean(axis=(1, 2, 3)) == pytest.approx(30 * np.arange(6), abs=4)


def test_another_kind_is_told():
    with pytest.raises(ConfigError, match="an animation as gif: expected webp or mp4"):
        encode_animation(make_frames(), 4.0, "gif")
