"""Shots written as files and decoded again: copied where that shows just their frames, else encoded anew."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from drawn_films import decode_film, draw_film, encode_film

from m3ray.config import LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.shots import encoding
from m3ray.video.shots import export as exporting
from m3ray.video.shots.export import export_shots

EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
FILM = draw_film(11, [30, 35, 25])
SHOTS = [(0, 30), (30, 65), (65, 90)]


def export(data, ranges=SHOTS):
    return dict(export_shots(data, LimitsConfig(), ranges))


def seconds_of(data):
    with av.open(io.BytesIO(data)) as file:
        stream = file.streams.video[0]
        packets = [packet for packet in file.demux(stream) if packet.size]
        return max(float((packet.pts + packet.duration) * packet.time_base) for packet in packets)


def force_key_frames(container, codec, sound, **options):
    """The film with a key frame at each cut, by groups of five frames, so that none refers beyond its shot."""
    return encode_film(FILM, codec=codec, container=container, sound=sound, g="5", **options)


@pytest.mark.parametrize(
    ("container", "codec", "sound", "suffix"),
    [("mp4", "libx264", "aac", ".mp4"), ("matroska", "libx264", "aac", ".mkv"), ("webm", "libvpx", "libopus", ".webm")],
)
def test_shots_that_begin_at_key_frames_are_copied_bit_by_bit(container, codec, sound, suffix):
    options = {"bf": "2", "flags": "+cgop", "sc_threshold": "0"} if codec == "libx264" else {}
    data = force_key_frames(container, codec, sound, **options)
    whole, files = decode_film(data), export(data)
    for number, (first, end) in enumerate(SHOTS):
        file = files[number]
        assert (file.how, file.suffix, file.sound) == ("copied", suffix, True)
        np.testing.assert_array_equal(decode_film(file.data), whole[first:end])
        # WebM does not keep how long the last frame lasts.
        slack = 0.041 if container == "webm" else 0.002
        assert seconds_of(file.data) == pytest.approx((end - first) / 25, abs=slack)


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_a_shot_between_key_frames_is_encoded_anew_and_shows_no_other_frame(container):
    data = encode_film(FILM, container=container, sound="aac", g="250", sc_threshold="0", bf="3")
    whole, files = decode_film(data), export(data)
    for number, (first, end) in enumerate(SHOTS):
        got = decode_film(files[number].data)
        assert got.shape == whole[first:end].shape
        # x264 at crf 16: what differs is far below what tells two scenes, or two frames of one, apart.
        errors = np.abs(got.astype(int) - whole[first:end]).mean(axis=(1, 2, 3))
        assert errors.max() < 3
        assert files[number].how == "encoded"
        assert files[number].sound
        assert seconds_of(files[number].data) == pytest.approx((end - first) / 25, abs=0.002)


def test_frames_of_changing_length_keep_their_times():
    times = np.cumsum([0, *([40] * 40), *([80] * 49)])
    data = encode_film(FILM, times=times, g="250", sc_threshold="0")
    file = export(data)[1]
    with av.open(io.BytesIO(file.data)) as opened:
        shown = [float(frame.pts * frame.time_base) for frame in opened.decode(video=0)]
    np.testing.assert_allclose(shown, (times[30:65] - times[30]) / 1000, atol=1e-3)


def encode_as(pictures, codec, pixels, container="matroska", **colours):
    """A file of pixels of another format, with these colours told, and one key frame."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = file.add_stream(codec, rate=25, options={"g": "250", "sc_threshold": "0", "threads": "1"})
        _, stream.height, stream.width, _ = pictures.shape
        stream.pix_fmt = pixels
        for name, value in colours.items():
            setattr(stream.codec_context, name, value)
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            file.mux(stream.encode(frame.reformat(format=pixels, dst_color_range=colours.get("color_range"))))
        file.mux(stream.encode())
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(72, 96), (121, 161)])
@pytest.mark.parametrize(
    ("codec", "pixels", "colours"),
    [
        ("libx264rgb", "rgb24", {}),
        ("libx264rgb", "rgb24", {"color_range": 2, "color_primaries": 9, "color_trc": 16}),
        ("libx264rgb", "bgr0", {}),
        ("libx264", "yuv420p", {}),
        ("libx264", "yuvj420p", {"color_range": 2}),
        ("mpeg4", "yuv420p", {}),
        ("mjpeg", "yuvj422p", {"color_range": 2}),
        ("prores_ks", "yuv422p10le", {"colorspace": 1, "color_primaries": 1, "color_trc": 1}),
        ("ffv1", "bgra", {}),
        ("ffv1", "gbrp10le", {}),
        ("ffv1", "gray", {}),
        ("ffv1", "yuv420p16le", {"color_range": 2}),
    ],
)
def test_what_is_encoded_anew_has_the_colours_of_its_source(codec, pixels, colours, size):
    """Also of RGB and grey sources; none is copied, also where each frame is a key."""
    if size[0] % 2 and ("420" in pixels or "422" in pixels):
        pytest.skip("the source itself needs even sides")
    data = encode_as(draw_film(12, [12, 10], height=size[0], width=size[1]), codec, pixels, **colours)
    whole = decode_film(data)
    (_, file), *none = encode_anew(data, (3, 12))
    assert not none
    assert decode_film(file.data).shape == whole[3:12].shape
    # Crf 16 leaves 0.4 to 1.7, most where scenes are colourful and noisy; grey stretched is 5, a wrong matrix 27.
    assert measure_difference(file.data, data) < 2
    with av.open(io.BytesIO(file.data)) as opened, av.open(io.BytesIO(data)) as source:
        context, before = opened.streams.video[0].codec_context, source.streams.video[0].codec_context
        next(source.decode(video=0))  # what its pictures tell counts for more than what the container does
        assert context.format.is_rgb == (context.colorspace == 0)
        for name in ("color_primaries", "color_trc"):
            told = getattr(before, name)
            assert told in (2, getattr(context, name)), "2: not told; else it stays"


def measure_difference(shot, whole):
    """Mean difference of blocks of 8 x 8 pixels to frames 3 to 11 of the source: noise and halved colours are out.

    Both are rounded to the nearest, as FFmpeg's fast conversion makes halved colours darker by up to 2.
    """
    means = []
    for data, first in ((shot, 0), (whole, 3)):
        with av.open(io.BytesIO(data)) as file:
            frames = [frame.reformat(format="rgb24", interpolation=EXACT) for frame in file.decode(video=0)]
        film = np.stack([frame.to_ndarray() for frame in frames[first : first + 9]])
        height, width = film.shape[1] // 8, film.shape[2] // 8
        blocks = film[:, : 8 * height, : 8 * width].reshape(9, height, 8, width, 8, 3)
        means.append(blocks.mean(axis=(2, 4)))
    return np.abs(means[0] - means[1]).mean()


def encode_anew(data, *ranges):
    """Shots that are never copied."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "_try_copy", lambda *_: None)
        return list(export_shots(data, LimitsConfig(), ranges))


@pytest.mark.parametrize("pixels", ["gbrp", "bgra"])
def test_rgb_that_becomes_webm_keeps_its_colours(pixels):
    """A container that is written as WebM here, with a stream that only Matroska holds."""
    codec = "ffv1" if pixels == "bgra" else "libvpx-vp9"
    data = encode_as(draw_film(12, [12]), codec, pixels, "matroska" if pixels == "bgra" else "webm")
    ((_, file),) = encode_anew(data, (3, 12))
    assert measure_difference(file.data, data) < 2


def test_no_file_of_other_colours_is_handed_on(monkeypatch):
    """Pictures whose blue and red are swapped before they are encoded."""
    data = encode_film(FILM, g="250", sc_threshold="0")
    convert = encoding.Colours.convert

    def swap(self, frame):
        picture = av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24")[..., ::-1].copy(), format="rgb24")
        return convert(self, picture)

    monkeypatch.setattr(encoding.Colours, "convert", swap)
    assert all("colours" in file for _, file in encode_anew(data, *SHOTS))


def test_colours_and_the_shape_of_pixels_stay():
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=25, options={"g": "250", "sc_threshold": "0"})
        stream.height, stream.width, stream.pix_fmt = 72, 96, "yuv420p"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 9, 16, 9, 1
        context.sample_aspect_ratio = Fraction(4, 3)
        for picture in FILM:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    with av.open(io.BytesIO(export(buffer.getvalue())[1].data)) as file:
        context = file.streams.video[0].codec_context
        colours = (context.color_primaries, context.color_trc, context.colorspace, context.color_range)
        assert [int(value) for value in colours] == [9, 16, 9, 1]
        assert float(context.sample_aspect_ratio) == pytest.approx(4 / 3)


def test_what_cannot_be_written_is_told():
    with pytest.raises(DecodeError, match="an image has no shot"):
        export(b"\x89PNG\r\n\x1a\n" + bytes(60))
    with pytest.raises(DecodeError, match="90 frames are shown now"):
        export(encode_film(FILM), [(80, 95)])
