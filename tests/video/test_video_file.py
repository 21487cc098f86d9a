"""Which stream is the video, what of it is shown, and what is damage. Files are made with PyAV and cut by hand."""

import io
import struct
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.decode import decode

LIMITS = LimitsConfig()


def flat(level, size=(64, 64)):
    return np.full((size[1], size[0], 3), level, np.uint8)


def encoded(container, streams, codec="libx264", options=None, rate=10, frames=12):
    """A file of flat streams, of each of which level, size and whether it is the default are given."""
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format=container) as file:
        outs = []
        for _, (width, height), default in streams:
            out = file.add_stream(codec, rate=rate, options=options or {})
            out.width, out.height, out.pix_fmt = width, height, "yuv420p"
            out.disposition = av.stream.Disposition.default if default else 0
            outs.append(out)
        for _ in range(frames):
            for out, (level, size, _) in zip(outs, streams, strict=True):
                file.mux(out.encode(av.VideoFrame.from_ndarray(flat(level, size), format="rgb24")))
        for out in outs:
            file.mux(out.encode())
    return buffer.getvalue()


def ramp(container, codec="libx264", frames=60, rate=30, options=None):
    """Frame k has level 8 + 4 k."""
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format=container) as file:
        out = file.add_stream(codec, rate=rate, options=options or {})
        out.width, out.height, out.pix_fmt = 64, 64, "yuv420p"
        out.codec_context.gop_size = 12
        for k in range(frames):
            file.mux(out.encode(av.VideoFrame.from_ndarray(flat(8 + 4 * k), format="rgb24")))
        file.mux(out.encode())
    return buffer.getvalue()


def windows(data, **changes):
    return list(decode(data, replace(DecodeConfig(), **changes), LIMITS))


def reason_of(data):
    with pytest.raises(DecodeError) as caught:
        windows(data)
    return caught.value.reason


@pytest.mark.parametrize(
    ("streams", "level"),
    [
        ([(40, (64, 64), False), (200, (128, 128), False)], 200),  # the largest
        ([(40, (128, 128), False), (200, (128, 128), False)], 40),  # of the largest the first
        ([(40, (64, 64), True), (200, (128, 128), False)], 40),  # the default one
        ([(40, (64, 64), True), (200, (128, 128), True)], 200),  # of the defaults the largest
    ],
)
def test_the_stream_that_a_player_shows(streams, level):
    ((_, frames),) = windows(encoded("matroska", streams))
    assert abs(int(frames.mean()) - level) <= 3


def test_latin_words_in_a_file_do_not_make_it_unreadable():
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="avi") as file:
        file.metadata["title"] = "XXcafe"
        out = file.add_stream("mpeg4", rate=10)
        out.width, out.height, out.pix_fmt = 64, 64, "yuv420p"
        file.mux(out.encode(av.VideoFrame.from_ndarray(flat(80), format="rgb24")))
        file.mux(out.encode())
    data = buffer.getvalue()
    assert b"XXcafe" in data
    assert len(windows(data.replace(b"XXcafe", b"caf\xe9\xff\xfe"))) == 1


def with_edit(data, milliseconds, ticks):
    """An .mp4 whose only edit shows so much, from a tick of its media on."""
    at = data.index(b"elst")
    return data[: at + 12] + struct.pack(">Ii", milliseconds, ticks) + data[at + 20 :]


def test_what_an_edit_list_cuts_away_is_not_shown_and_is_no_damage():
    """Frames 30 to 44 of 60 lie within one second from 1.0 s on; the whole media stays in the file."""
    data = ramp("mp4")
    with av.open(io.BytesIO(data)) as file:
        per_frame = Fraction(1, 30) / file.streams.video[0].time_base
    first = struct.unpack_from(">i", data, data.index(b"elst") + 16)[0]
    ((metadata, frames),) = windows(with_edit(data, 500, first + int(30 * per_frame)), fps=30)
    assert (metadata.frames, metadata.duration) == (15, pytest.approx(0.5))
    ((_, whole),) = windows(data, fps=30)
    assert np.array_equal(frames, whole[30:45])


def test_a_stream_that_begins_in_the_middle_shows_what_can_be_decoded():
    data = ramp("mpegts", options={"bf": "2"})
    packets = len(data) // 188
    ((metadata, frames),) = windows(data[188 * (packets // 3) :], fps=30)
    ((_, whole),) = windows(data, fps=30)
    assert 12 <= metadata.frames < 60
    assert metadata.duration == pytest.approx(metadata.frames / 30)
    assert np.array_equal(frames, whole[-len(frames) :]), "the last ones, each as it is in the whole"


def test_hidden_pictures_are_not_counted():
    """Alternate references of libvpx are packets that nobody sees."""
    options = {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "30k"}
    ((metadata, _),) = windows(ramp("webm", "libvpx", options=options))
    assert (metadata.frames, metadata.native_fps) == (60, pytest.approx(30, rel=0.01))


def test_a_hole_in_the_middle_is_damage():
    data = bytearray(ramp("mp4", options={"bf": "0"}))
    with av.open(io.BytesIO(bytes(data))) as file:
        lost = [packet for packet in file.demux(video=0) if packet.size][30:40]
        for packet in lost:
            data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    assert reason_of(bytes(data)) == "damaged"


def jpegs(levels):
    """The levels as packets of MJPEG, each a picture of its own."""
    codec = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = 64, 64, "yuvj420p", Fraction(1, 10)
    found = []
    for level in levels:
        frame = av.VideoFrame.from_ndarray(flat(level), format="rgb24").reformat(format="yuvj420p")
        found += [bytes(packet) for packet in codec.encode(frame)]
    return found + [bytes(packet) for packet in codec.encode(None)]


def chunk(name, data):
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def avi(chunks):
    """An .avi of fifty frames a second; an empty chunk stands for a dropped frame."""
    count = len(chunks)
    main = struct.pack("<14I", 20_000, 0, 0, 0x10, count, 0, 1, 0, 64, 64, 0, 0, 0, 0)
    header = b"vidsMJPG" + struct.pack("<10I4H", 0, 0, 0, 1, 50, 0, count, 0, 0xFFFFFFFF, 0, 0, 0, 64, 64)
    picture = struct.pack("<IiiHH4sIiiII", 40, 64, 64, 1, 24, b"MJPG", 64 * 64 * 3, 0, 0, 0, 0)
    stream = chunk(b"LIST", b"strl" + chunk(b"strh", header) + chunk(b"strf", picture))
    index, movi = b"", b"movi"
    for data in chunks:
        index += b"00dc" + struct.pack("<III", 0x10 if data else 0, len(movi), len(data))
        movi += chunk(b"00dc", data)
    body = (
        b"AVI " + chunk(b"LIST", b"hdrl" + chunk(b"avih", main) + stream) + chunk(b"LIST", movi) + chunk(b"idx1", index)
    )
    return chunk(b"RIFF", body)


@pytest.mark.parametrize(
    ("dropped", "shown"),
    [
        ((), [0, 2, 4, 6, 8]),
        ((2, 5), [0, 1, 4, 6, 8]),
        ((1, 2, 3, 4), [0, 0, 0, 6, 8]),
        ((6, 7, 8, 9), [0, 2, 4, 5, 5]),  # the last ones too
    ],
)
def test_a_dropped_frame_of_an_avi_repeats_the_one_before(dropped, shown):
    """Ten slots at 50 frames a second; at 25 every second one is due."""
    levels = 20 + 20 * np.arange(10)
    chunks = [b"" if k in dropped else data for k, data in enumerate(jpegs(levels))]
    ((metadata, frames),) = windows(avi(chunks), fps=25)
    assert (metadata.frames, metadata.duration) == (10 - len(dropped), pytest.approx(0.2))
    np.testing.assert_allclose(frames[:, 128, 128, 0], levels[shown], atol=3)


def copied(data, container):
    """The packets of a file in another container, as `ffmpeg -c copy` does."""
    buffer = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(buffer, mode="w", format=container) as file:
        out = file.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = out
                file.mux(packet)
    return buffer.getvalue()


@pytest.mark.parametrize("rate", [10, 15, 30])
def test_h264_copied_into_avi_shows_the_same(rate):
    """Its time base is then half a frame, and its packets have times of decoding alone."""
    data = ramp("mpegts", rate=rate, options={"bf": "2"})
    ((metadata, frames),), ((known, expected),) = windows(copied(data, "avi")), windows(data)
    assert (metadata.frames, metadata.duration) == (60, pytest.approx(known.duration))
    assert np.array_equal(frames, expected)


def test_a_program_stream_that_was_stopped_anywhere_shows_what_it_has():
    data = ramp("mpeg", "mpeg2video", options={"bf": "2"})
    found = [windows(data[: len(data) * share // 40])[0][0].frames for share in range(12, 40, 3)]
    assert found == sorted(found)
    assert found[-1] >= 50


def test_an_empty_edit_is_not_counted_twice():
    data = ramp("mp4", options={"bf": "2"})
    with av.open(io.BytesIO(data)) as file:
        stream = file.streams.video[0]
        tick = stream.time_base
    at = data.index(b"elst")
    first = struct.unpack_from(">i", data, at + 16)[0]
    ((metadata, _),) = windows(with_edit(data, 1000, first + int(1 / tick)), fps=30)
    assert (metadata.frames, metadata.duration) == (30, pytest.approx(1.0, abs=0.002))


def test_times_without_worth_lose_no_picture():
    """Three frames at each time: spaced evenly in the end, so that other ones are due than it seemed on the way."""
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="matroska") as file:
        out = file.add_stream("mjpeg", rate=30)
        out.width, out.height, out.pix_fmt = 64, 64, "yuvj420p"
        for k, data in enumerate(jpegs(20 + 7 * np.arange(30))):
            packet = av.Packet(data)
            packet.stream, packet.time_base = out, Fraction(1, 1000)
            packet.pts = packet.dts = 100 * (k // 3)
            file.mux(packet)
    ((metadata, frames),) = windows(buffer.getvalue())
    assert (metadata.frames, metadata.sampled) == (30, len(frames))
    assert (np.diff(frames[:, 128, 128, 0].astype(int)) >= 5).all()
