"""Files that went wrong here or in tools like this one, with what a player shows of them.

Each is made anew with PyAV; where the files that were reported lie beside the checkout, they are read too.
"""

import io
import math
import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from drawn import pictures
from ramp_edits import trim_start
from ramps import SECOND, Ramp, Recipe, write_levels, write_pictures

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.sandbox import Decoder

REPORTED = Path(__file__).parents[3] / "shared" / "cases"
FULL = SECOND / 30
DIMMED = np.linspace(0, 238, 120).round()
RAMP = range(8, 248)
BEST = {"encoder": {"qp": "4"}, "size": (128, 96)}


@pytest.fixture(scope="module", params=["pyav", "decord"])
def decoder(request):
    decoder = Decoder(DecodeConfig(fps=15), LimitsConfig(), request.param)
    yield decoder
    decoder.close()


def read(decoder, data):
    """What is known of a clip, and its sampled frames, (T, 256, 256, 3)."""
    windows = list(decoder.windows(data))
    return windows[0][0], np.concatenate([frames for _, frames in windows])


def brightness(frames):
    """As the raw tier's: the mean of the largest channel."""
    return float(frames.max(axis=3).mean()) / 255


def reason_of(decoder, data):
    with pytest.raises(DecodeError) as caught:
        list(decoder.windows(data))
    return caught.value.reason


def reported(name):
    path = REPORTED / name
    if not path.is_file():
        pytest.skip("the reported files are not beside this checkout")
    return path.read_bytes()


# Flat frames: which are shown, for how long, and how bright they are together.


def dropped_frames():
    """Of every five frames one is dropped: an AVI has an empty chunk there."""
    kept = [k for k in range(120) if k % 5 != 3]
    durations = [FULL * (2 if k % 5 == 2 else 1) for k in kept]
    return write_levels(Recipe("avi", "mpeg4", size=(128, 96)), DIMMED[kept], durations)


def trimmed():
    recipe = Recipe("mp4", "libx264", b_frames=2, gop=60)
    durations = (FULL,) * 120
    return trim_start(Ramp(write_levels(recipe, DIMMED, durations), tuple(range(120)), durations), 45).data


def h264_in_avi():
    return write_levels(Recipe("avi", "libx264", gop=12, **BEST), RAMP, [FULL] * 240)


def open_gop_in_matroska():
    """As x265 does by itself: it refers to frames far away, and key frames do not end that."""
    options = {"preset": "medium", "x265-params": "qp=4:keyint=24:log-level=none"}
    recipe = Recipe("matroska", "libx265", b_frames=4, gop=24, open_gop=True, size=(128, 96), encoder=options)
    return write_levels(recipe, RAMP, [FULL] * 240)


def still_then_motion(container):
    recipe = Recipe(container, "libx264", gop=60, tick=SECOND / 6000, size=(128, 96))
    return write_levels(recipe, [40] + [200] * 600, [5 * SECOND] + [SECOND / 60] * 600)


def bright_then_dark(dark, rate):
    """A second at 60 frames a second, then `dark` frames at `rate`."""
    recipe = Recipe("mp4", "libx264", tick=SECOND / 6000, size=(128, 96))
    return write_levels(recipe, [220] * 60 + [40] * dark, [SECOND / 60] * 60 + [SECOND / rate] * dark)


# name: (the reported file, how it is made, frames shown, seconds, brightness). The reported files' own figures; those
# of variable rate were written by a muxer that does not say how long the last frame lasts.
FLAT = {
    "dropped frames in AVI": ("avi-null-frames/drop.avi", dropped_frames, 96, 4.0, 0.46),
    "trimmed by an edit list": ("edit-list-trim/trim.mp4", trimmed, 75, 2.5, 0.638),
    "H.264 in AVI": ("h264-avi/ramp.avi", h264_in_avi, 240, 8.0, 0.497),
    "HEVC, open GOP": ("hevc-mkv-open-gop/ramp.mkv", open_gop_in_matroska, 240, 8.0, 0.497),
    "still, then motion, MP4": ("still-then-motion/still.mp4", lambda: still_then_motion("mp4"), 601, 15.0, 0.575),
    "still, then motion, MKV": ("still-then-motion/still.mkv", lambda: still_then_motion("matroska"), 601, 15.0, 0.575),
    "slow on the whole": ("vfr-below-rate/s1.mp4", lambda: bright_then_dark(18, 2), 78, 10.0, 0.227),
    "fast on the whole": ("vfr-below-rate/s2.mp4", lambda: bright_then_dark(108, 12), 168, 10.0, 0.227),
}


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("source", ["made", "reported"])
def test_what_is_shown_and_for_how_long(decoder, source, name):
    path, make, frames, seconds, expected = FLAT[name]
    metadata, shown = read(decoder, make() if source == "made" else reported(path))
    assert metadata.frames == frames
    last = 0.5 if source == "reported" and path.startswith(("vfr", "still")) else 0.002
    assert metadata.duration == pytest.approx(seconds, abs=last)
    assert len(shown) == metadata.sampled == math.ceil(round(metadata.duration * 15, 2))
    assert brightness(shown) == pytest.approx(expected, abs=0.005)


# Orientation. Corners (top left, top right, bottom left, bottom right) as ffmpeg 5.1 shows such files.

COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220), "white": (240, 240, 240)}
TURNED = {
    (1, 0, 0, 1): "red green blue white",
    (-1, 0, 0, 1): "green red white blue",
    (1, 0, 0, -1): "blue white red green",
    (-1, 0, 0, -1): "white blue green red",
    (0, 1, -1, 0): "blue red white green",
    (0, -1, 1, 0): "green white red blue",
    (0, 1, 1, 0): "red blue green white",
    (0, -1, -1, 0): "white green blue red",
}


def quarters(matrix):
    """128 x 64 pixels in four colours, and a display matrix in the track's header."""
    picture = np.zeros((64, 128, 3), np.uint8)
    for k, colour in enumerate(COLOURS.values()):
        picture[k // 2 * 32 :, k % 2 * 64 :] = colour
    recipe = Recipe("mp4", "libx264", pixels="yuv444p", tick=SECOND / 15, size=(128, 64))
    return with_matrix(write_pictures(recipe, [picture] * 10, [recipe.tick] * 10), matrix)


def with_matrix(data, matrix):
    a, b, c, d = (value << 16 for value in matrix)
    at = data.index(b"tkhd") + 44  # of a version 0 track header
    return data[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[at + 36 :]


def corners(frame):
    found = [frame[y, x].astype(int) for y in (20, -20) for x in (20, -20)]
    nearest = [min(COLOURS, key=lambda name: np.abs(pixel - COLOURS[name]).sum()) for pixel in found]
    return " ".join(nearest)


@pytest.mark.parametrize("matrix", TURNED, ids=str)
def test_all_eight_orientations(decoder, matrix):
    metadata, frames = read(decoder, quarters(matrix))
    assert [corners(frame) for frame in frames] == [TURNED[matrix]] * 10
    assert (metadata.width, metadata.height) == ((128, 64) if matrix[0] else (64, 128))


def test_the_reported_mirrored_picture(decoder):
    _, frames = read(decoder, reported("mirrored-matrix/mirrored.mp4"))
    assert corners(frames[0]) == "green red white blue"


# Sound with a cover.


def song(container):
    """A second of sound, and the picture of its album."""
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format=container) as file:
        sound, cover = file.add_stream("aac", rate=16_000, layout="mono"), file.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 300, 300, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        file.mux(cover.encode(av.VideoFrame.from_ndarray(np.full((300, 300, 3), 200, np.uint8), format="rgb24")))
        for start in range(0, 16_000, 1000):
            wave = np.sin(np.arange(start, start + 1000, dtype=np.float32) / 6)[None]
            frame = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
            frame.sample_rate, frame.time_base, frame.pts = 16_000, Fraction(1, 16_000), start
            file.mux(sound.encode(frame))
        file.mux(sound.encode())
    return buffer.getvalue()


@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_an_album_picture_is_no_video(decoder, container):
    assert reason_of(decoder, song(container)) == "no_video_stream"


def test_the_reported_album_picture(decoder):
    assert reason_of(decoder, reported("audio-with-cover/song.mp4")) == "no_video_stream"


# Files cut short.

NOISY = [pictures(45, 120, 160)[k] for k in range(45)]
FRAGMENTS = {"muxer": {"movflags": "frag_keyframe+empty_moov+default_base_moof"}}
WHOLE = {
    "mp4": Recipe("mp4", "libx264", b_frames=2),
    "mp4, index first": Recipe("mp4", "libx264", b_frames=2, muxer={"movflags": "faststart"}),
    "mp4, fragments": Recipe("mp4", "libx264", **FRAGMENTS),
    "mov": Recipe("mov", "mjpeg", pixels="yuvj420p"),
    "mkv": Recipe("matroska", "libx264", b_frames=2),
    "webm": Recipe("webm", "libvpx-vp9"),
    "avi": Recipe("avi", "mpeg4"),
    "gif": Recipe("gif", "gif", pixels="gray", tick=SECOND / 25),
    "flv": Recipe("flv", "libx264"),
    "wmv": Recipe("asf", "wmv2"),
    "mxf": Recipe("mxf", "mpeg2video", tick=SECOND / 25),
}
PROMISE_NOTHING = {"ts": Recipe("mpegts", "mpeg2video"), "mpg": Recipe("mpeg", "mpeg2video")}


def whole(recipe):
    recipe = replace(recipe, size=(160, 120), encoder={"qp": "24"} if recipe.codec == "libx264" else {})
    return write_pictures(recipe, NOISY, [recipe.tick] * len(NOISY))


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_cut_short_is_rejected(decoder, name):
    data = whole(WHOLE[name])
    assert read(decoder, data)[0].frames == len(NOISY)
    reasons = [reason_of(decoder, data[: int(len(data) * share)]) for share in (0.3, 0.6, 0.9)]
    assert reasons == ["truncated"] * 3


@pytest.mark.parametrize("name", PROMISE_NOTHING)
def test_a_recording_that_was_stopped_is_shown_as_far_as_it_goes(decoder, name):
    data = whole(PROMISE_NOTHING[name])
    _, all_ = read(decoder, data)
    metadata, part = read(decoder, data[: int(len(data) * 0.6)])
    assert 0.4 * len(NOISY) < metadata.frames < 0.8 * len(NOISY)
    np.testing.assert_array_equal(part[:-1], all_[: len(part) - 1])  # the last picture may be cut


@pytest.mark.parametrize(("name", "frames"), [("whole.webm", 120), ("cut_whole.webm", None)])
def test_the_reported_cut_webm(decoder, name, frames):
    data = reported(f"cut-webm/{name}")
    if frames is None:
        assert reason_of(decoder, data) == "truncated"
    else:
        assert read(decoder, data)[0].frames == frames
