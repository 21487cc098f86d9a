"""Which container a file is, by its content."""

import io

import av
import pytest
from drawn import pictures

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.containers import detect_container
from m3ray.video.sandbox import Decoder

CONFIG, LIMITS = DecodeConfig(), LimitsConfig()


@pytest.fixture(scope="module")
def decoder():
    decoder = Decoder(CONFIG, LIMITS)
    yield decoder
    decoder.close()


def reason_of(decoder, data):
    with pytest.raises(DecodeError) as caught:
        list(decoder.windows(data))
    return caught.value.reason


def remuxed(frames, container, fps=10, codec="libx264"):
    """`frames` in another container."""
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format=container) as file:
        stream = file.add_stream(codec, rate=fps)
        stream.height, stream.width, stream.pix_fmt = (
            frames.shape[1],
            frames.shape[2],
            "rgb8" if codec == "gif" else "yuv420p",
        )
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("container", "codec", "name"),
    [
        ("matroska", "libx264", "matroska"),
        ("avi", "mpeg4", "avi"),
        ("mpegts", "libx264", "mpegts"),
        ("mpeg", "mpeg2video", "mpeg"),
        ("gif", "gif", "gif"),
        ("webm", "libvpx", "matroska"),
    ],
)
def test_every_allowed_container(decoder, container, codec, name):
    data = remuxed(pictures(20), container, fps=25 if container == "mpeg" else 10, codec=codec)
    assert detect_container(data) == name
    metadata, frames = next(decoder.windows(data))
    assert metadata.frames == 20
    assert frames[-1].mean() > frames[0].mean() + 50


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b"hello, I am a text named clip.mp4\n" * 9, "not_a_video"),
        (b"#EXTM3U\n#EXTINF:2,\n/etc/passwd\n", "not_a_video"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "not_a_video"),
        (b"\x00\x00\x00\x20ftypisom" + b"\x00" * 200, "unreadable"),
        (b"\x1a\x45\xdf\xa3" + b"\xff" * 300, "unreadable"),
        (b"GIF89a" + b"\x00" * 50, "unreadable"),
    ],
)
def test_what_is_not_a_video_is_rejected_with_a_reason(decoder, data, reason):
    assert reason_of(decoder, data) == reason
